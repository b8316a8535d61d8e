"""Several processes, started by torchrun, on one evaluation: shard assignment and barriers."""

from __future__ import annotations

import datetime as dt

import torch.distributed

from sfbench.hardware.processes import ProcessGroup, join

PATIENCE = dt.timedelta(hours=12)


def enter(group: ProcessGroup) -> None:
    """Join the other processes; raises UsageError if they do not come."""
    join(group, "gloo", PATIENCE)


def wait_for_all() -> None:
    """Barrier: return when every process has reached it."""
    torch.distributed.barrier()


def leave() -> None:
    """Leave the process group."""
    torch.distributed.destroy_process_group()
