"""Latents drawn from seeds: row i of a batch depends on seed i alone, on the CPU, for every device."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from sfbench.api.errors import ContractError, UsageError
from sfbench.api.labels import Labels

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Distribution = Literal["normal", "uniform"]
"""Of each number of z: N(0, 1), or uniform in [-1, 1]."""
LEAST_TRUNCATION = 0.01
"""Below it one number in a hundred is kept."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Latents:
    """Inputs of a batch: z ``[batch, *latent_shape]``, labels c, noise ``[batch, *shape]``.

    `c`: one-hot [batch, classes], or class numbers [batch]; None without classes.
    """

    z: Tensor
    c: Tensor | None
    noise: list[Tensor] | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LatentSource:
    """What the latents of one image are, and where they are put.

    `noise_shapes`: one image's noise in each layer. `truncation`: normal numbers that lie farther from
    zero are drawn again, as often as it takes; `scale`: all of z is multiplied by it after that.
    `dtype` and `device` are torch names.
    """

    latent_shape: tuple[int, ...]
    classes: int = 0
    noise_shapes: tuple[tuple[int, ...], ...] = ()
    labels: Labels = dataclasses.field(default_factory=Labels)
    distribution: Distribution = "normal"
    truncation: float | None = None
    scale: float = 1.0
    one_hot: bool = True
    device: str = "cpu"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        """Check that the labels are classes of this model; raises UnsupportedError if not.

        Raises UsageError for a truncation that hardly any number is within.
        """
        if self.truncation is not None and not self.truncation >= LEAST_TRUNCATION:
            msg = f"truncation {self.truncation:g}: expected {LEAST_TRUNCATION} or more"
            raise UsageError(msg)
        if self.classes:
            self.labels.check(self.classes)

    def draw(self, seeds: Sequence[int]) -> Latents:
        """Return the latents of these seeds; raises ContractError without any."""
        import torch  # sfbench.api must not import torch when imported

        if not seeds:
            msg = "draw_latents needs at least one seed"
            raise ContractError(msg)
        rows = []
        for seed in seeds:
            source = torch.Generator().manual_seed(seed)
            z = torch.randn(self.latent_shape, generator=source)
            if self.distribution == "uniform":
                source.manual_seed(seed)
                z = torch.rand(self.latent_shape, generator=source) * 2 - 1
            elif self.truncation is not None:
                z = self._within(z, source, self.truncation)
            if self.scale != 1:
                z = z * self.scale
            # Drawn under every rule: the noise after it must not depend on the rule.
            drawn = torch.randint(max(self.classes, 1), (), generator=source)
            noise = [torch.randn(shape, generator=source) for shape in self.noise_shapes]
            rows.append((z, self.labels.of(seed, self.classes, int(drawn)), noise))
        zs, labels, noises = zip(*rows, strict=True)
        layers = [self._place(torch.stack(layer)) for layer in zip(*noises, strict=True)]
        return Latents(z=self._place(torch.stack(zs)), c=self._labels(labels), noise=layers or None)

    def _within(self, z: Tensor, source: torch.Generator, limit: float) -> Tensor:
        import torch  # sfbench.api must not import torch when imported

        while (outside := z.abs() > limit).any():
            z[outside] = torch.randn(int(outside.sum()), generator=source)
        return z

    def _labels(self, numbers: Sequence[int]) -> Tensor | None:
        import torch  # sfbench.api must not import torch when imported

        if not self.classes:
            return None
        classes = torch.tensor(numbers)
        if not self.one_hot:
            return classes.to(self.device)
        return self._place(torch.nn.functional.one_hot(classes, self.classes))

    def _place(self, x: Tensor) -> Tensor:
        import torch  # sfbench.api must not import torch when imported

        dtype: torch.dtype = getattr(torch, self.dtype)
        return x.to(device=self.device, dtype=dtype)

    def described(self) -> dict[str, Any]:
        """Return how latents are drawn, for records; labels are told with what is measured of them."""
        spread = {"normal": "N(0, 1)", "uniform": "uniform in [-1, 1]"}[self.distribution]
        if self.truncation is not None:
            spread += f", beyond {self.truncation:g} drawn again"
        if self.scale != 1:
            spread += f", times {self.scale:g}"
        return {"latents": spread, "classes": self.classes}


class Drawing:
    """The part of a generator that draws latents from its `source`, labels by any rule."""

    source: LatentSource

    def draw_latents(self, seeds: Sequence[int]) -> Latents:
        """Return the latents of these seeds: row i is drawn only from seed i, always on the CPU."""
        return self.source.draw(seeds)

    @property
    def classes(self) -> int:
        """The number of classes; 0 of an unconditional model."""
        return self.source.classes

    def use_labels(self, labels: Labels) -> None:
        """Draw labels by this rule from now on; raises UnsupportedError for classes it lacks."""
        self.source = dataclasses.replace(self.source, labels=labels)
