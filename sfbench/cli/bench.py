"""What an evaluation of images is asked, and the bench on which it is carried out."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sfbench.api.errors import UsageError
from sfbench.api.protocols import FeatureExtractor
from sfbench.catalogue.catalogue import Catalogue
from sfbench.cli import defaults, sound
from sfbench.cli.beside import announce
from sfbench.cli.one_case import one_case
from sfbench.cli.progress import PassProgress
from sfbench.data import sources
from sfbench.generators.loading import load_plugins
from sfbench.hardware.devices import resolve
from sfbench.hardware.host import cpu_count
from sfbench.hardware.policy import set_policy
from sfbench.hardware.processes import process_group
from sfbench.quality import extractors, published
from sfbench.quality.protocols import AUTO, Protocol
from sfbench.values.case import LARGEST_SEED, MOST_THREADS, Source
from sfbench.values.sizes import square


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The request: one set of images (or a model that generates them), and the reference."""

    images: str | None = None
    model: str | None = None
    reference: str | None = ""
    """None: there is none."""
    resolution: int | None = None
    samples: int | None = None
    seed: int = 0
    batch: int = 8
    option: tuple[str, ...] = ()
    weights: str = "auto"
    extractor: str | None = None
    extractor_weights: str = "auto"
    fast: bool = False
    per_class: bool = False
    device: str = "auto"
    threads: int | None = None
    trusted: bool = False
    plugins: tuple[str, ...] = ()
    disabled: tuple[str, ...] = ()


MOST_SIDE = 16384
"""Pixels: what is larger is a slip of the finger."""


def check_numbers(asked: Asked) -> None:
    """Raise UsageError for a number that nothing can be measured with."""
    for flag, value, least, most in (
        ("--threads", asked.threads, 1, MOST_THREADS),
        ("--res", asked.resolution, 1, MOST_SIDE),
        ("--seed", asked.seed, 0, LARGEST_SEED),
        ("--batch", asked.batch, 1, 1 << 20),
    ):
        if value is not None and not least <= value <= most:
            msg = f"{flag} {value}: expected a whole number from {least} to {most}"
            raise UsageError(msg)


class Bench:
    """What an evaluation needs, resolved once: device, extractors, feature stores, progress."""

    def __init__(self, asked: Asked) -> None:
        group = process_group()
        if asked.reference is not None:
            sources.check_there(asked.reference, "--reference")
        sound.check_images(images=asked.images)
        sound.note_clashes(images=asked.images, reference=asked.reference, weights=asked.weights)
        self.asked = asked
        self.catalogue: Catalogue = defaults.catalogue(asked.plugins, asked.disabled)
        if asked.model is not None:
            self.catalogue.model(asked.model).check_usable(trusted=asked.trusted)
        from sfbench.quality.feature_store import FeatureStore  # numpy comes with it

        self.group = group
        self.rank, self.world = group.rank, group.world
        backend = resolve(asked.device)
        if self.world > 1:
            backend = backend.of_process(group.local_rank)
        self.device = backend.name
        if asked.samples is not None and asked.samples < 1:
            msg = f"--samples {asked.samples}: expected a whole number, 1 or more"
            raise UsageError(msg)
        check_numbers(asked)
        threads = asked.threads or max(cpu_count() // self.world, 1)
        set_policy(backend, "fp32", threads)
        self.progress = PassProgress(sys.stderr, live=sys.stderr.isatty(), quiet=self.rank > 0)
        self.store = FeatureStore(defaults.cache_folder() / "features")
        self.open_extractor = functools.cache(self.opened)

    def source_of(self, name: str) -> Source:
        """Return the extractor of a name and its file; raises WeightsError if that is missing."""
        given = self.asked.extractor_weights
        named = self.asked.extractor or published.INCEPTION
        mine = name in {named, AUTO} or given in {"auto", "download"}
        return extractors.choose(
            name, given if mine else "auto", defaults.torch_home(), self.offers
        )

    def opened(self, name: str) -> FeatureExtractor:
        """Return the extractor of a name; raises WeightsError if its weights are missing."""
        asked = self.asked
        source = self.source_of(name)
        base = source.kind.partition(":")[0]
        owner = next(offer.plugin for offer in self.offers if offer.name == base)
        wanted, _ = load_plugins([owner], asked.plugins, asked.disabled)
        return extractors.open_extractor(source, self.device, fast=asked.fast, plugins=wanted)

    @functools.cached_property
    def offers(self) -> tuple[extractors.Offer, ...]:
        """All available extractors."""
        return extractors.offers(self.catalogue.extractors)

    @functools.cached_property
    def forward(self) -> Any:
        """The feature pass, sharing the work with other processes."""
        from sfbench.quality import features, ranks  # torch comes with it

        return features.FeaturePass(
            progress=self.progress,
            device=self.device,
            share=features.Share(rank=self.rank, world=self.world),
            barrier=ranks.wait_for_all if self.world > 1 else features.alone,
        )

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Join the other processes, and leave them at the end."""
        if self.world == 1:
            yield
            return
        from sfbench.quality import ranks  # torch comes with it

        ranks.enter(self.group)
        try:
            yield
            ranks.wait_for_all()
        finally:
            ranks.leave()

    def real(self, text: str, flag: str) -> Any:
        """Return the images of a file, folder or built-in name."""
        from sfbench.quality.image_sets import (
            RealImages,  # torch comes with it
            chosen,  # torch comes with it
        )

        source, container = sources.opened(text, flag)
        resolution = self.asked.resolution
        if source.kind in sources.BUILT_IN and resolution is None:
            msg = f"{flag} {text}: its images can have any size; choose one with --res"
            raise UsageError(msg)
        size = None if resolution is None else square(resolution)
        dataset = sources.open_dataset(source, size, container)
        announce(flag, container)
        what = "images" if flag == "--images" else "reference"
        indices = chosen(len(dataset), self.asked.samples, self.asked.seed)
        return RealImages(dataset=dataset, indices=indices, what=what, source=source)

    def generated(self) -> Any:
        """Return the requested images: of a file or folder, or of a model from seeds."""
        asked = self.asked
        if bool(asked.images) == bool(asked.model):
            msg = "give --images FILE or FOLDER, or --model NAME" + (
                ", not both" if asked.images else ""
            )
            raise UsageError(msg)
        return self.real(asked.images, "--images") if asked.images else self.drawn()

    def drawn(self) -> Any:
        """Return the images of a model; image i is that of seed i."""
        from sfbench.catalogue.registry import find_generator
        from sfbench.generators.building import build
        from sfbench.quality.image_sets import GeneratedImages  # torch comes with it
        from sfbench.values.case import Request

        asked = self.asked
        request = Request(
            model=str(asked.model),
            res=str(asked.resolution or 32),
            batch=str(asked.batch),
            option=asked.option,
            weights=asked.weights,
            seed=asked.seed,
            device=self.device,
            threads=asked.threads,
            trust=asked.trusted,
            measure="memory",
        )
        case = one_case(request, self.catalogue, "quality")
        names = self.catalogue.owners(case.model)
        loaded, _ = load_plugins(names, asked.plugins, asked.disabled)
        _, spec = find_generator(loaded, case.model)
        samples = asked.samples or published.SAMPLES
        inputs: Mapping[str, Any] = case.inputs()
        return GeneratedImages(
            generator=build(spec, case, self.device),
            indices=range(asked.seed, asked.seed + samples),
            batch=asked.batch,
            identity={
                "model": {name: inputs[name] for name in inputs if name != "measure"},
                "code": self.catalogue.model(case.model).code_sha256,
                "first_seed": asked.seed,
                "images": samples,
            },
        )

    def comparison(self, protocols: list[Protocol]) -> Any:
        """Return the requested comparison."""
        from sfbench.quality import reference_file
        from sfbench.quality.comparison import Comparison  # torch comes with it

        asked = self.asked
        real = str(asked.reference)
        path = Path(real)
        statistics, reference = None, None
        if path.is_file() and reference_file.is_reference_file(path):
            statistics = reference_file.read_reference(path)
        if statistics is None or reference_file.holds_images(path):
            reference = self.real(real, "--reference")
        generated = self.generated()
        labels = None
        if asked.per_class:
            labels = labels_of(generated), labels_of(reference)
        return Comparison(
            generated=generated,
            reference=reference,
            statistics=statistics,
            protocols=protocols,
            open_extractor=self.open_extractor,
            forward=self.forward,
            stores=(self.store, self.store),
            extractor=asked.extractor,
            per_class=labels,
        )


def labels_of(image_set: Any) -> Any:
    """Return the class numbers of images, or None if there are none."""
    dataset = getattr(image_set, "dataset", None)
    return None if dataset is None else dataset.labels(image_set.indices)
