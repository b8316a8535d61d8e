"""The real images of every step: epochs in an order given by the seed and the epoch number."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from sfbench.data.prepared import PreparedImages
from sfbench.hardware.backend import Backend
from sfbench.train.shards import BatchShard
from sfbench.values.pixels import from_bytes

ORDERS_KEPT = 2


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DataLoader:
    """Yields batches from an endless sequence of epochs.

    `hflip`: an epoch holds every image twice, as it is and mirrored. `conditional`: shards carry
    labels. `backend`: the device that shards are put on.
    """

    images: PreparedImages
    batch: int
    seed: int
    hflip: bool
    conditional: bool
    backend: Backend

    def rows(self, step: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return which images a step uses, and which of them are flipped."""
        length = len(self.images) * (2 if self.hflip else 1)
        places = np.arange(step * self.batch, (step + 1) * self.batch)
        epochs, places = np.divmod(places, length)
        found = np.concatenate(
            [epoch_order(self.seed, int(e), length)[places[epochs == e]] for e in np.unique(epochs)]
        )
        return found % len(self.images), found >= len(self.images)

    def shard(self, step: int, index: int, count: int) -> BatchShard:
        """Return a shard of a step's batch."""
        rows, flipped = (part[index::count] for part in self.rows(step))
        pixels = self.images.pixels[rows]
        if flipped.any():
            pixels = np.where(flipped[:, None, None, None], pixels[..., ::-1], pixels)
        images = torch.from_numpy(np.ascontiguousarray(pixels))
        images = self.backend.upload(images)
        return BatchShard(
            images=from_bytes(images),
            labels=self.one_hot(torch.from_numpy(rows)) if self.conditional else None,
            index=index,
            count=count,
            batch=self.batch,
            seed=self.seed,
            step=step,
            labels_of=self.labels_of if self.conditional else None,
        )

    @property
    def labels_of(self) -> Callable[[Tensor], Tensor]:
        """Map numbers in [0, 1) to the classes of the images they select."""
        return lambda numbers: self.one_hot((numbers.cpu() * len(self.images)).long())

    def one_hot(self, rows: Tensor) -> Tensor:
        """Return the classes of images, one-hot."""
        labels = torch.from_numpy(self.images.labels[rows.numpy()])
        return F.one_hot(labels, self.images.classes).to(self.backend.name, torch.float32)


@functools.lru_cache(maxsize=ORDERS_KEPT)
def epoch_order(seed: int, epoch: int, length: int) -> NDArray[np.int64]:
    """Return the order of an epoch."""
    source = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    return source.permutation(length)
