"""Reading many record files: in several processes once there are thousands."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from sfbench.hardware.host import cpu_count
from sfbench.report.measurements import Measurements, measurements
from sfbench.store.runs import Unreadable, read_of
from sfbench.values.records import Record

FEWEST_TOLD = 5000
"""Fewer files are read before a second process has started."""
CHUNK = 1000
"""Files that a process reads at once."""
MOST_PROCESSES = 8

Progress = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True, slots=True)
class Chunk:
    """What some files hold: measurements, the positions of their files, and what was unreadable."""

    found: Measurements
    places: list[int]
    unreadable: list[Unreadable]


def read_files(
    root: Path, names: Sequence[str], places: Sequence[int], progress: Progress
) -> list[Chunk]:
    """Return what the files at these places hold, in their order."""
    parts = [places[start : start + CHUNK] for start in range(0, len(places), CHUNK)]
    many = len(places) >= FEWEST_TOLD
    processes = min(cpu_count(), MOST_PROCESSES) if many else 1
    found: dict[int, Chunk] = {}
    done = 0
    for number, chunk in chunks_of(root, names, parts, processes):
        found[number] = chunk
        done += len(parts[number])
        if many:
            progress("indexing records", done, len(places))
    return [found[number] for number in range(len(parts))] or [read_chunk(root, names, [])]


def chunks_of(
    root: Path, names: Sequence[str], parts: Sequence[Sequence[int]], processes: int
) -> Iterator[tuple[int, Chunk]]:
    """Yield the number and the content of each part, as processes finish them.

    Where processes cannot be started or are killed, this one reads what is left.
    """
    left = dict(enumerate(parts))
    if processes > 1:
        with contextlib.suppress(BrokenProcessPool, OSError):
            for number, chunk in read_elsewhere(root, names, parts, processes):
                del left[number]
                yield number, chunk
    for number, part in left.items():
        yield number, read_chunk(root, names, part)


def read_elsewhere(
    root: Path, names: Sequence[str], parts: Sequence[Sequence[int]], processes: int
) -> Iterator[tuple[int, Chunk]]:
    """Yield the number and the content of each part from other processes."""
    context = multiprocessing.get_context("spawn")  # a fork copies locks that threads hold
    with ProcessPoolExecutor(processes, context, initializer=prepare) as pool:
        jobs = {}
        for number, part in enumerate(parts):
            needed = {place: names[place] for place in part}
            jobs[pool.submit(read_chunk, root, needed, part)] = number
        try:
            for job in as_completed(jobs):
                yield jobs.pop(job), job.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def prepare() -> None:
    """Let Ctrl-C stop the process that asked, which then stops this one; look for no cycles."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()  # a chunk has none, and looking for them takes a third of the time


def read_chunk(
    root: Path, names: Sequence[str] | Mapping[int, str], places: Sequence[int]
) -> Chunk:
    """Return what the files at these places hold."""
    records, readable, unreadable = [], [], []
    for place in places:
        loaded = read_of(root / names[place])
        if isinstance(loaded, Record):
            records.append(loaded)
            readable.append(place)
        else:
            unreadable.append(loaded)
    return Chunk(measurements(records), readable, unreadable)
