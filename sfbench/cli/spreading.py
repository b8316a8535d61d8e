"""Behind `sfbench run` on several devices or on a cluster: plan, start workers, follow the store."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from sfbench.api.errors import DataError, UsageError
from sfbench.cli import measuring
from sfbench.cli.exits import Exit
from sfbench.cli.following import follow
from sfbench.cli.measuring import Settings
from sfbench.cli.planning import plan_document
from sfbench.cli.progress import ProgressLines
from sfbench.hardware.devices import AUTO, places
from sfbench.hardware.places import Place
from sfbench.run.engines import slurm
from sfbench.run.engines.command import worker_command
from sfbench.run.engines.devices import DeviceWorkers
from sfbench.run.plan_file import PlanDocument, name_of, trial_count, write_plan
from sfbench.run.standing import Follower, Standing
from sfbench.store.claims import Claims
from sfbench.store.runs import Store
from sfbench.values.case import Request
from sfbench.values.messages import counted

ENGINES = ("slurm",)
MOST_WORKERS = 1000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """How to use a cluster: flags of its own, number of workers; `printed`: only show the script."""

    flags: tuple[str, ...] = ()
    workers: int = 1
    printed: bool = False
    detached: bool = False


def names_several(device: str) -> bool:
    """Return whether a --device value names more than one device."""
    return "," in device or device.endswith(":all")


def kind_of(device: str) -> str:
    """Return the kind of device that a --device value names, whether it is here or not."""
    return device if device == AUTO else device.partition(",")[0].partition(":")[0]


def saved(asked: Sequence[Request], settings: Settings) -> tuple[PlanDocument, Path]:
    """Return requests as a plan, and its file in the store."""
    planned = [dataclasses.replace(one, device=kind_of(one.device)) for one in asked]
    document = plan_document(planned, settings)
    store = Store(settings.store)
    store.prepare()
    path = store.plans / f"{name_of(document)}.json"
    write_plan(document, path)
    return document, path


def on_devices(asked: Sequence[Request], settings: Settings) -> Exit:
    """Measure on several devices of this machine, one worker each; print the result."""
    found = places(asked[0].device)
    document, path = saved(asked, settings)
    return by_workers(document, path, found, settings)


def by_workers(
    document: PlanDocument,
    path: Path,
    found: Sequence[Place],
    settings: Settings,
    share: Sequence[str] = (),
) -> Exit:
    """Carry a plan out by one worker for each of these devices; print the result.

    `share`: flags that end each worker early.
    """
    store = Store(settings.store)
    store.prepare()
    workers = DeviceWorkers(store.root / "logs" / name_of(document))
    follower = follower_of(document, store)
    listener = ProgressLines(sys.stderr, live=sys.stderr.isatty())
    try:
        workers.start(path, store.root, found, trusted=document["trust"], share=share)
        standing = follow(follower, listener, workers.is_working)
        workers.wait()
        failures = workers.failures()
    except KeyboardInterrupt:
        listener.clear()
        print(f"interrupted: finished trials are kept in {store.runs}", file=sys.stderr)
        return Exit.INTERRUPTED
    finally:
        workers.end()
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    code = ended(standing, settings, f"what the workers printed: {workers.logs}")
    return Exit.SOME_FAILED if failures and code == Exit.OK else code


def follower_of(document: PlanDocument, store: Store) -> Follower:
    """Return what follows the workers of a plan that begin from now on."""
    count = trial_count(document)
    return Follower(store, name_of(document), Claims(store.claims).now(), count)


def ended(standing: Standing, settings: Settings, where: str) -> Exit:
    """Print the records of a plan that nobody works on any more, and return the exit code."""
    records = [*standing.done, *standing.failed]
    if standing.missing:
        print(f"{counted(standing.missing, 'trial')} not measured; {where}", file=sys.stderr)
    if not records:
        print(f"no worker stored a record; {where}", file=sys.stderr)
    if records or settings.as_json:
        measuring.show(records, settings)
    if not records:
        return Exit.NOTHING_MEASURED
    code = measuring.exit_code(records)
    return Exit.SOME_FAILED if standing.missing and code == Exit.OK else code


def on_cluster(engine: str, asked: Sequence[Request], settings: Settings, cluster: Cluster) -> Exit:
    """Measure by workers on a cluster; raises UsageError for an engine that there is not."""
    if engine not in ENGINES:
        msg = f"--on {engine}: expected {', '.join(ENGINES)}; for others see sfbench work"
        raise UsageError(msg)
    if not 1 <= cluster.workers <= MOST_WORKERS:
        msg = f"--workers {cluster.workers}: expected 1 to {MOST_WORKERS}"
        raise UsageError(msg)
    return on_slurm(asked, settings, cluster)


def make_folder(folder: Path) -> None:
    """Make a folder with its parents; raises DataError where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"{folder}: cannot be made ({error.strerror or error})"
        raise DataError(msg) from None


def worker_device(asked: Sequence[Request]) -> str:
    """Return the device of a cluster's workers: what all requests ask for, else each request's own."""
    devices = {request.device for request in asked}
    return devices.pop() if len(devices) == 1 else AUTO


def on_slurm(asked: Sequence[Request], settings: Settings, cluster: Cluster) -> Exit:
    """Submit the workers of a plan to Slurm and follow their store; print the result.

    A job of the same plan that is still there is followed, not submitted again.
    """
    slurm.flags_of(cluster.flags)
    document, path = saved(asked, settings)
    store = Store(settings.store)
    name = name_of(document)
    logs = (store.root / "logs" / name).absolute()
    text = slurm.script(
        name=name,
        title=" ; ".join(request.command() for request in asked),
        command=worker_command(path, store.root, worker_device(asked), trusted=document["trust"]),
        folder=document["folder"],
        logs=logs,
        workers=cluster.workers,
        given=cluster.flags,
        alone=any(case["inputs"]["measure"] != ["quality"] for case in document["cases"]),
    )
    make_folder(logs)  # Slurm does not
    if cluster.printed:
        print(text, end="")
        return Exit.OK
    job_file = store.plans / f"{name}.slurm"
    follower = follower_of(document, store)
    job = slurm.running(job_file)
    if job is None:
        job = slurm.submit(text, store.plans / f"{name}.sh", job_file)
        print(f"submitted as job {job}: {counted(cluster.workers, 'worker')}", file=sys.stderr)
    else:
        print(f"job {job} carries this plan out already", file=sys.stderr)
    if cluster.detached:
        print(f"sfbench status {store.root} shows how it stands", file=sys.stderr)
        return Exit.OK
    listener = ProgressLines(sys.stderr, live=sys.stderr.isatty())
    try:
        watched = slurm.Watched(job_file)
        standing = follow(follower, listener, watched, state=lambda: watched.state)
    except KeyboardInterrupt:
        listener.clear()
        print(
            f"job {job} is not ended by this: sfbench status {store.root} shows how it stands, "
            f"scancel {job} ends it",
            file=sys.stderr,
        )
        return Exit.INTERRUPTED
    if watched.misses == 0:
        print(f"job {job}: its last tasks end by themselves (scancel {job})", file=sys.stderr)
    return ended(standing, settings, f"logs: {logs}")
