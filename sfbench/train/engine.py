"""Data parallelism: gradients and means over all shards, by plain torch.distributed.

One flat all-reduce per phase needs no module wrapper and has no unused-parameter pitfall; the
gradients equal those of one process because shards interleave (minibatch deviation groups images
at a fixed stride) and random numbers belong to images.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import sys
from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sfbench.hardware.processes import ProcessGroup, join

TIMEOUT = dt.timedelta(minutes=5)
ORPHANED = 1


class Engine:
    """This process's part of a step: `rank` of `world`, with `parts` shards per process."""

    def __init__(self, rank: int, world: int, parts: int) -> None:
        self.rank, self.world, self.parts = rank, world, parts
        self.parent = os.getppid()

    @property
    def shards(self) -> list[tuple[int, int]]:
        """(index, count) of this process's shards, in order."""
        count = self.world * self.parts
        return [(part * self.world + self.rank, count) for part in range(self.parts)]

    @property
    def alone(self) -> bool:
        """Whether a shard is the whole batch."""
        return self.world * self.parts == 1

    def stop_when_orphaned(self) -> None:
        """End this process if the torchrun that started it is gone.

        Another may already have taken over, and two runs must not write to one folder.
        """
        if self.world > 1 and os.getppid() != self.parent:
            sys.exit(ORPHANED)

    def all_reduce(self, parameters: Sequence[nn.Parameter]) -> None:
        """Sum every gradient over processes (all-reduce).

        A parameter without a gradient in this phase must have none in every process.
        """
        if self.world == 1:
            return
        given = [p.grad for p in parameters if p.grad is not None]
        for gradients in by_type(given):
            flat = torch.cat([g.flatten() for g in gradients])
            dist.all_reduce(flat)
            for gradient, part in zip(
                gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True
            ):
                gradient.copy_(part.view_as(gradient))

    def mean(self, found: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Return the means over the shards of all processes."""
        if self.world == len(found) == 1:
            return {name: value.detach() for name, value in found[0].items()}
        with torch.no_grad():
            own = {
                name: torch.stack([means[name].detach() for means in found]).mean(dim=0)
                for name in found[0]
            }
            if self.world == 1:
                return own
            flat = torch.cat([own[name].flatten() for name in own]) / self.world
            dist.all_reduce(flat)
            parts = torch.split(flat, [value.numel() for value in own.values()])
            pairs = zip(own.items(), parts, strict=True)
            return {name: part.view_as(value) for (name, value), part in pairs}

    def wait(self) -> None:
        """Barrier: return when every process has reached it."""
        if self.world > 1:
            dist.barrier()

    def agreed(self, value: float) -> float:
        """Broadcast the first process's number to every process."""
        if self.world == 1:
            return value
        told = torch.tensor([value], dtype=torch.float64)
        if dist.get_backend() == "nccl":
            told = told.cuda()
        dist.broadcast(told, src=0)
        return float(told.item())


def by_type(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Yield the tensors of each type."""
    for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
        yield [tensor for tensor in tensors if tensor.dtype == dtype]


@contextlib.contextmanager
def joined(group: ProcessGroup, parts: int, backend: str) -> Iterator[Engine]:
    """Join the other processes by torch.distributed's `backend`; one process joins nothing."""
    engine = Engine(group.rank, group.world, parts)
    if group.world == 1:
        yield engine
        return
    join(group, backend, TIMEOUT)
    try:
        yield engine
    finally:
        dist.destroy_process_group()
