"""Several processes, started by torchrun, on one evaluation: shard assignment and barriers."""

from __future__ import annotations

import datetime as dt

import torch.distributed

PATIENCE = dt.timedelta(hours=12)


def join() -> None:
    """Join torchrun's process group, which the environment describes."""
    torch.distributed.init_process_group("gloo", timeout=PATIENCE)


def wait_for_all() -> None:
    """Barrier: return when every process has reached it."""
    torch.distributed.barrier()


def leave() -> None:
    """Leave the process group."""
    torch.distributed.destroy_process_group()
