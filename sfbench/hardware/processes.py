"""Several processes on one job: what their launcher says in the environment, and how they join."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
from collections.abc import Mapping

from sfbench.api.errors import UsageError

TORCHRUN = "TORCHELASTIC_RUN_ID"
JOIN_SECONDS = 300
"""Time for all processes to join that torchrun started together."""
ALONE_SECONDS = 60
"""The same for others: most likely, nobody will come."""
ADVICE = "start every process with torchrun, or unset {} to run alone"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ProcessGroup:
    """The rendezvous of a run's processes, as torchrun passes it to each of them.

    `local_rank`: number of the process on its machine. `attempt` counts restarts. `hosted`: torchrun
    itself hosts the store. `launched`: torchrun started the processes.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    address: str = "localhost"
    port: int = 0
    attempt: str = "0"
    hosted: bool = False
    launched: bool = False


def process_group(environment: Mapping[str, str] = os.environ) -> ProcessGroup:
    """Return the rendezvous that the environment describes; one process where it says nothing.

    Raises UsageError where the variables are half set or make no sense.
    """
    given = [name for name in ("RANK", "WORLD_SIZE") if name in environment]
    if len(given) == 1:
        other = "WORLD_SIZE" if given == ["RANK"] else "RANK"
        msg = f"{given[0]} is set in the environment and {other} is not: {ADVICE.format(given[0])}"
        raise UsageError(msg)
    rank, world = number(environment, "RANK", 0), number(environment, "WORLD_SIZE", 1)
    if not 0 <= rank < max(world, 1):
        msg = f"RANK={rank} and WORLD_SIZE={world}: expected a rank below the number of processes"
        raise UsageError(msg)
    if world > 1 and not {"MASTER_ADDR", "MASTER_PORT"} <= environment.keys():
        msg = (
            f"WORLD_SIZE={world} is set in the environment, and MASTER_ADDR or MASTER_PORT is not: "
            f"{ADVICE.format('RANK and WORLD_SIZE')}"
        )
        raise UsageError(msg)
    return ProcessGroup(
        rank=rank,
        world=max(world, 1),
        local_rank=number(environment, "LOCAL_RANK", 0),
        address=environment.get("MASTER_ADDR", "localhost"),
        port=number(environment, "MASTER_PORT", 0),
        attempt=environment.get("TORCHELASTIC_RESTART_COUNT", "0"),
        hosted=environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
        launched=TORCHRUN in environment,
    )


def number(environment: Mapping[str, str], name: str, default: int) -> int:
    """Return a whole number of the environment; raises UsageError for anything else."""
    text = environment.get(name, str(default))
    if not text.isdecimal():
        msg = f"{name}={text!r:.40} in the environment: expected a whole number; unset it"
        raise UsageError(msg)
    return int(text)


def join(group: ProcessGroup, backend: str, patience: dt.timedelta) -> None:
    """Join the other processes by torch.distributed's `backend`; later waits last `patience`.

    Each attempt after a restart has its own keys in the store: otherwise processes find the
    addresses of dead ones and wait for them. Raises UsageError if not all have come in time.
    """
    import torch.distributed as dist  # slow
    from torch.distributed import TCPStore  # type: ignore[attr-defined]  # torch exports it unnamed
    from torch.distributed.distributed_c10d import PrefixStore

    seconds = JOIN_SECONDS if group.launched else ALONE_SECONDS
    try:
        store = TCPStore(
            group.address,
            group.port,
            world_size=group.world,
            is_master=group.rank == 0 and not group.hosted,
            timeout=dt.timedelta(seconds=seconds),
        )
    except RuntimeError:  # torch's own errors of networks and stores
        msg = (
            f"process {group.rank} of {group.world} (RANK, WORLD_SIZE): the others did not join at "
            f"{group.address}:{group.port} within {seconds} s; {ADVICE.format('RANK and WORLD_SIZE')}"
        )
        raise UsageError(msg) from None
    dist.init_process_group(
        backend,
        store=PrefixStore(f"sfbench/{group.attempt}", store),
        rank=group.rank,
        world_size=group.world,
        timeout=patience,
    )
