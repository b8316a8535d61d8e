"""Shards of a batch, and random numbers tied to its images.

Every number is a function of (seed, step, use), drawn for the whole batch and split like the
images: every `count`-th row. No generator state is carried from step to step, so none has to be
saved, and a batch split differently sees the same numbers.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable

import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BatchShard:
    """Rows `index`, `index` + `count`, ... of a batch of `batch` images."""

    images: Tensor
    labels: Tensor | None
    index: int
    count: int
    batch: int
    seed: int
    step: int
    labels_of: Callable[[Tensor], Tensor] | None = None

    def normal(self, use: str, *shape: int) -> Tensor:
        """Return N(0, 1) numbers [shard, *shape]."""
        return self.cut(torch.randn, use, shape)

    def uniform(self, use: str, *shape: int) -> Tensor:
        """Return numbers in [0, 1) [shard, *shape]."""
        return self.cut(torch.rand, use, shape)

    def number(self, use: str) -> float:
        """Return one number in [0, 1), the same for the whole batch."""
        return torch.rand((), generator=self.source(use, "cpu")).item()

    def drawn_labels(self, use: str) -> Tensor | None:
        """Return the classes of random real images, one-hot [shard, classes], or None."""
        return None if self.labels_of is None else self.labels_of(self.uniform(use))

    def cut(self, draw: Callable[..., Tensor], use: str, shape: tuple[int, ...]) -> Tensor:
        """Return this shard's rows of the numbers drawn for the batch."""
        device = self.images.device
        source = self.source(use, device.type)
        return draw((self.batch, *shape), generator=source, device=device)[self.index :: self.count]

    def source(self, use: str, device: str) -> torch.Generator:
        """Return the random generator of a use in this step."""
        text = f"{self.seed}/{self.step}/{use}"
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        return torch.Generator(device).manual_seed(int.from_bytes(digest) >> 1)
