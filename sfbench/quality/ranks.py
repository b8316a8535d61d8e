"""Several processes on one evaluation, started by torchrun: who makes which shards, and waiting."""

from __future__ import annotations

import datetime as dt

import torch.distributed

PATIENCE = dt.timedelta(hours=12)


def join() -> None:
    """Meet the other processes of a torchrun; the environment says where."""
    torch.distributed.init_process_group("gloo", timeout=PATIENCE)


def wait_for_all() -> None:
    """Return when every process has come here."""
    torch.distributed.barrier()


def leave() -> None:
    """End the meeting."""
    torch.distributed.destroy_process_group()
