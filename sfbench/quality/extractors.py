"""The available feature extractors, and how one is chosen and opened. torch is imported late.

Inception-v3 and the embedded network are built in; others come from plugins.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfbench.api.errors import SfbenchError, UsageError
from sfbench.api.protocols import FeatureExtractor
from sfbench.api.spec import ExtractorRequest, ExtractorSpec, WeightsFile
from sfbench.quality.published import (
    EMBEDDED,
    INCEPTION,
    PACKETS,
    SPECTRUM,
    STANDARD_FILES,
    VGG16,
    VGG16_FILE,
    embedded_card,
)
from sfbench.quality.weights import find_weights, place
from sfbench.values.case import Source

if TYPE_CHECKING:
    from sfbench.catalogue.registry import Plugin


def build_inception(request: ExtractorRequest) -> FeatureExtractor:
    """Return Inception-v3 of 2015."""
    from sfbench.quality.inception import InceptionExtractor  # slow

    published = {file.sha256 for file in STANDARD_FILES}
    return InceptionExtractor(request, standard=request.sha256 in published)


def build_vgg16(request: ExtractorRequest) -> FeatureExtractor:
    """Return VGG16 of torchvision."""
    from sfbench.quality.vgg16 import Vgg16Extractor  # slow

    return Vgg16Extractor(request, standard=request.sha256 == VGG16_FILE.sha256)


def build_embedded(request: ExtractorRequest) -> FeatureExtractor:
    """Return the embedded network."""
    from sfbench.quality.embedded.extractor import CifarExtractor  # torch comes with it

    return CifarExtractor(request.device)


def build_packets(request: ExtractorRequest) -> FeatureExtractor:
    """Return the wavelet packets."""
    del request  # there is nothing to choose
    from sfbench.quality.packets import PacketExtractor  # torch comes with it

    return PacketExtractor()


def build_spectrum(request: ExtractorRequest) -> FeatureExtractor:
    """Return the power spectrum."""
    del request  # there is nothing to choose
    from sfbench.quality.spectrum import SpectrumExtractor  # torch comes with it

    return SpectrumExtractor()


BUILT_IN = (
    ExtractorSpec(
        name=INCEPTION,
        summary="Inception-v3 of 2015-12-05, the network FID is defined by (2048 features)",
        build=build_inception,
        weights=STANDARD_FILES,
        license="Apache-2.0",
        citation="Szegedy et al., arXiv 1512.00567; Heusel et al., arXiv 1706.08500",
    ),
    ExtractorSpec(
        name=VGG16,
        summary="VGG16 of torchvision, for precision and recall (4096 features)",
        build=build_vgg16,
        weights=(VGG16_FILE,),
        license="BSD-3-Clause",
        citation="Simonyan and Zisserman, arXiv 1409.1556; Kynkaanniemi et al., arXiv 1904.06991",
    ),
    ExtractorSpec(
        name=EMBEDDED,
        summary="small network trained on CIFAR-10, shipped; 32x32 input (256 features)",
        build=build_embedded,
        license="Apache-2.0",
    ),
    ExtractorSpec(
        name=PACKETS,
        summary="Haar wavelet packets of level 4, for FWD; no network, images as they are",
        build=build_packets,
        license="Apache-2.0",
        citation="Veeramacheneni et al., arXiv 2312.15289",
    ),
    ExtractorSpec(
        name=SPECTRUM,
        summary="power by frequency, for the spectral slope; no network, images as they are",
        build=build_spectrum,
        license="Apache-2.0",
        citation="Durall et al., arXiv 2003.01826",
    ),
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One extractor as listed: its spec without the code, and the plugin it comes from."""

    name: str
    summary: str
    weights: tuple[WeightsFile, ...] = ()
    variants: str | None = None
    license: str = ""
    citation: str = ""
    plugin: str = "built in"


def offers(listed: Iterable[Mapping[str, Any]]) -> tuple[Offer, ...]:
    """Return the built-in extractors and those that plugins list."""
    built_in = tuple(
        Offer(
            name=spec.name,
            summary=spec.summary,
            weights=spec.weights,
            license=spec.license,
            citation=spec.citation,
        )
        for spec in BUILT_IN
    )
    return built_in + tuple(
        Offer(
            **{f.name: entry[f.name] for f in dataclasses.fields(Offer) if f.name in entry}
            | {"weights": tuple(WeightsFile(**file) for file in entry["weights"])}
        )
        for entry in listed
    )


def choose(text: str, weights: str, torch_home: Path, offered: Sequence[Offer]) -> Source:
    """Return the extractor that --extractor and --extractor-weights stand for.

    "auto": Inception-v3 if its published weights are in torch's cache, given, or to be
    downloaded, else the embedded one. Raises UsageError for an unknown name, WeightsError
    if its weights are missing or damaged.
    """
    name = text
    if text == "auto":
        there = any(place(file, torch_home).exists() for file in STANDARD_FILES)
        name = INCEPTION if there or weights != "auto" else EMBEDDED
    base, _, variant = name.partition(":")
    found = [offer for offer in offered if offer.name == base]
    if len(found) != 1 or bool(variant) != (found[0].variants is not None):
        known = ", ".join(
            offer.name + (f":{offer.variants}" if offer.variants else "") for offer in offered
        )
        twice = " more than once" if len(found) > 1 else ""
        msg = f"--extractor {text}: offered{twice or ' by no plugin'}; expected auto, {known}"
        raise UsageError(msg)
    if base == EMBEDDED:
        if weights != "auto":
            msg = f"--extractor-weights {weights}: {EMBEDDED} has its own; omit this flag"
            raise UsageError(msg)
        return Source(kind=EMBEDDED, sha256=embedded_card()["sha256"])
    if weights == "auto" and not found[0].weights and found[0].variants is None:
        return Source(kind=name)
    path, digest = find_weights(f"extractor {name}", found[0].weights, weights, torch_home)
    return Source(kind=name, path=str(path), sha256=digest)


def open_extractor(
    source: Source, device: str, *, fast: bool = False, plugins: Iterable[Plugin] = ()
) -> FeatureExtractor:
    """Return the extractor of a source, built on the device."""
    base, _, variant = source.kind.partition(":")
    specs = [*BUILT_IN, *(spec for plugin in plugins for spec in plugin.extractors)]
    spec = next((spec for spec in specs if spec.name == base), None)
    if spec is None:
        msg = f"extractor {source.kind}: no loaded plugin offers it"
        raise UsageError(msg)
    request = ExtractorRequest(
        device=device,
        weights=None if source.path is None else Path(source.path),
        sha256=source.sha256,
        fast=fast,
        variant=variant or None,
    )
    built: object = spec.build(request)
    if not isinstance(built, FeatureExtractor):
        msg = f"extractor {source.kind}: expected an extractor, found {type(built).__name__}"
        raise SfbenchError(msg)
    return built
