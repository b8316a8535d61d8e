"""Names of metrics. Numbers that are not comparable never share a name.

FID, KID, IS and sFID are reserved for Inception-v3 of 2015 with its published weights, CMMD for
the published CLIP. Everything else names its extractor: `fd[cifar-cnn7]`. A protocol other than
this project's own is also named: `fid[clean-fid-0.1]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from sfbench.quality.protocols import OWN
from sfbench.quality.published import PACKETS
from sfbench.values.metric_names import (
    FD,
    FID,
    FWD,
    IS,
    KID,
)

CLIP = "clip-vitl14-336"
MEASURES = ("precision", "recall", "density", "coverage")


@runtime_checkable
class Named(Protocol):
    """What names depend on: an extractor, even an unavailable one."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def standard(self) -> bool:
        """Whether it may use established names."""
        ...


class MetricNames:
    """The names of one protocol's metrics with one extractor."""

    def __init__(self, protocol: str, extractor: Named) -> None:
        self.protocol = protocol
        self.extractor = extractor.name
        self.standard = extractor.standard

    def bracketed(self, *parts: str) -> str:
        """Return the bracketed part of a name: extractor, detail and protocol, as needed."""
        words = [*parts, *([] if self.protocol == OWN else [self.protocol])]
        return f"[{', '.join(words)}]" if words else ""

    def named(self, standard: str, other: str, *details: str) -> str:
        """Return the established name with the standard extractor, else ours with the extractor."""
        if self.standard:
            return standard + self.bracketed(*details)
        return other + self.bracketed(self.extractor, *details)

    def plain(self, metric: str) -> str:
        """Return a name that always includes the extractor."""
        return metric + self.bracketed(self.extractor)

    @property
    def frechet(self) -> str:
        """The Frechet distance: of wavelet packets band by band, FWD."""
        if self.extractor == PACKETS:
            return FWD + self.bracketed()
        return self.named(FID, FD)

    @property
    def slope(self) -> str:
        """The difference of spectral slopes."""
        return "spectral_slope" + self.bracketed()

    @property
    def infinity(self) -> str:
        """The Frechet distance extrapolated to infinitely many images."""
        return self.named("fid_infinity", "fd_infinity")

    @property
    def spatial(self) -> str:
        """The Frechet distance of spatial features."""
        return self.named("sfid", "sfd")

    @property
    def kernel(self) -> str:
        """The kernel distance over subsets."""
        return self.named(KID, "kd")

    @property
    def whole_kernel(self) -> str:
        """The kernel distance of whole sets."""
        return self.named("kid_whole", "kd_whole")

    @property
    def rbf_kernel(self) -> str:
        """The kernel distance of whole sets with a Gaussian kernel."""
        return self.named("kid_rbf", "kd_rbf")

    @property
    def monge(self) -> str:
        """The mean squared Wasserstein distance over random lines."""
        return self.named("mind", "monge")

    @property
    def sliced(self) -> str:
        """The closed form of the sliced Wasserstein distance."""
        return self.plain("sliced_wasserstein")

    @property
    def memorization(self) -> str:
        """The Frechet distance that counts memorized images."""
        return self.named("mifid", "mifd")

    @property
    def realism(self) -> str:
        """The median realism."""
        return self.plain("realism")

    @property
    def cmmd(self) -> str:
        """The Gaussian discrepancy of unit features."""
        return "cmmd" if self.extractor == CLIP else f"mmd_rbf[{self.extractor}]"

    @property
    def score(self) -> str:
        """The class score over splits."""
        return self.named(IS, "class_score")

    @property
    def single_score(self) -> str:
        """The class score over all images."""
        return self.named("is_single", "class_score_single")

    @property
    def neighbors(self) -> Mapping[str, str]:
        """Precision, recall, density and coverage."""
        return {measure: self.plain(measure) for measure in MEASURES}

    @property
    def vendi(self) -> str:
        """The Vendi score."""
        return self.plain("vendi")

    @property
    def copies(self) -> str:
        """The share of suspected copies."""
        return self.plain("copies")

    @property
    def authenticity(self) -> str:
        """The share of images that are no nearer to a real image than real images are."""
        return self.plain("authenticity")

    def per_class(self, label: str) -> str:
        """The Frechet distance of one class."""
        return self.named(FID, FD, f"class {label}")
