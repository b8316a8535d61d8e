"""Many workers on one store, without measuring anything: is a trial lost, torn, or measured twice?

    python scripts/stress_workers.py FOLDER [--workers 64] [--trials 2000] [--kills 100]

`share`: so many processes work through so many trials that take no time. `cost`: what a claim costs
beside 10,000 records. `kill`: workers get SIGKILL at random moments, and new ones take their place;
`kill_elsewhere`: the same, where nobody can see that a process is gone, so that its lease has to run
out. `pause`: a worker is stopped beyond its lease and goes on when another has measured its trial.
Prints one JSON document.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from sfbench.hardware.places import Place
from sfbench.run.schedule import Given, Listener, Pending
from sfbench.run.work import Worker
from sfbench.store.claims import Claims
from sfbench.store.runs import Store, stem
from sfbench.values.case import Case, Source
from sfbench.values.job import Job, OnEvent, record_of
from sfbench.values.records import Record, digest

NONE = Source(kind="none")
CASE = Case(
    model="instant",
    resolution=32,
    options={},
    weights=Source(kind="random"),
    batch=1,
    dtype="fp32",
    mode="eager",
    device="cpu",
    data=NONE,
    extractor=NONE,
    measure=("quality",),
    samples=2,
    seed=0,
    threads=1,
)
HERE = Place(kind="cpu", index=0, name="cpu", unique="cpu-0")
RECORDS = 10_000
LEASE = 2.0


class Silent(Listener):
    """Hears everything, says nothing."""


def trials_of(count: int) -> list[Pending]:
    """Return so many trials, none of them stored."""
    cases = [dataclasses.replace(CASE, seed=seed) for seed in range(count)]
    return [
        Pending(
            case=case,
            trial=0,
            identity=digest(["stress", case.seed]),
            machine="here",
            plugin="none",
            extractor_plugin=None,
            attempt=0,
            stored=None,
        )
        for case in cases
    ]


def work(folder: Path, trials: int, lease: float, seconds: float, *, hidden: bool) -> None:
    """Work through the trials, each of which takes `seconds`; note each that begins, and that ends.

    `hidden`: others cannot see whether this process lives.
    """
    store = Store(folder)
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def launch(job: Job, timeout: float, on_event: OnEvent) -> Record:
        del timeout
        os.write(log, f"begin {job.case.seed} {os.getpid()}\n".encode())
        on_event({"phase": "instant"})
        time.sleep(seconds)
        os.write(log, f"end {job.case.seed} {os.getpid()}\n".encode())
        return record_of(
            job, status="ok", readings=(), started="2026-01-01T00:00:00+00:00", seconds=seconds
        )

    worker = Worker(
        store=store,
        claims=Claims(store.claims, {"process": ""} if hidden else None, lease),
        launcher=launch,
        listener=Silent(),
        places={"cpu": HERE},
        given=Given(),
        timeout_seconds=60.0,
    )
    missing = trials_of(trials)
    (folder / f"ready-{os.getpid()}").touch()
    while not (folder / "go").exists():
        time.sleep(0.05)
    worker.carry_out(missing)


def start(
    folder: Path, trials: int, lease: float, seconds: float, *, hidden: bool = False
) -> subprocess.Popen[bytes]:
    """Start a worker."""
    asked = f"{trials},{lease},{seconds},{int(hidden)}"
    command = [sys.executable, __file__, str(folder), "--work", asked]
    return subprocess.Popen(command)  # noqa: S603  # this program


def judged(folder: Path, trials: int) -> dict[str, Any]:
    """Return what went wrong: trials begun and ended twice, lost, torn records, claims left behind."""
    begun, ended = collections.Counter[str](), collections.Counter[str]()
    for line in (folder / "log").read_text().splitlines():
        what, seed, _ = line.split()
        (begun if what == "begin" else ended)[seed] += 1
    store = Store(folder)
    records, torn = store.load()
    kept = collections.Counter(stem(one.identity, one.trial) for one in records)
    return {
        "trials": trials,
        "begun_again": sum(begun.values()) - len(begun),
        "measured_twice": sum(ended.values()) - len(ended),
        "stored_twice": sum(kept.values()) - len(kept),
        "lost": trials - len(kept),
        "torn": len(torn),
        "claims_left": len(list(Claims(store.claims).files())),
    }


def share(folder: Path, workers: int, trials: int) -> dict[str, Any]:
    """Let many workers share trials that take no time."""
    store = Store(folder)
    store.prepare()
    started = [start(folder, trials, 60.0, 0.0) for _ in range(workers)]
    while len(list(folder.glob("ready-*"))) < workers:
        time.sleep(0.1)
    began = time.perf_counter()
    (folder / "go").touch()
    for one in started:
        one.wait()
    wall = time.perf_counter() - began
    return judged(folder, trials) | {
        "workers": workers,
        "seconds": wall,
        "trials_per_second": trials / wall,
        "failed_workers": sum(one.returncode != 0 for one in started),
    }


def cost(folder: Path, records: int = RECORDS) -> dict[str, Any]:
    """Measure a claim, from looking for the record to the release, beside many records."""
    store = Store(folder)
    store.prepare()
    for number in range(records):
        (store.runs / f"{digest(number)[:24]}-t0-a0.json").write_text("{}")
    claims = Claims(store.claims)
    taken = []
    for trial in trials_of(1000):
        began = time.perf_counter()
        store.attempt(trial.identity, trial.trial, trial.attempt)
        claim = claims.take(trial.name, "cost")
        assert claim is not None  # noqa: S101  # nobody else is here
        with claim:
            store.look_again()
            store.attempt(trial.identity, trial.trial, trial.attempt)
        taken.append(time.perf_counter() - began)
    taken.sort()
    return {
        "records": records,
        "median_ms": 1000 * taken[len(taken) // 2],
        "p99_ms": 1000 * taken[int(0.99 * len(taken))],
    }


def kill(folder: Path, kills: int, *, hidden: bool, seed: int = 0) -> dict[str, Any]:
    """Kill workers at random moments; what they had claimed, others measure."""
    chance = random.Random(seed)  # noqa: S311  # moments, not secrets
    Store(folder).prepare()
    (folder / "go").touch()
    trials = 12 * kills

    def begin() -> subprocess.Popen[bytes]:
        return start(folder, trials, LEASE, 0.05, hidden=hidden)

    workers = [begin() for _ in range(4)]
    time.sleep(1.0)
    killed = 0
    while killed < kills and any(one.poll() is None for one in workers):
        time.sleep(chance.uniform(0.0, 0.2))
        place = chance.randrange(len(workers))
        if workers[place].poll() is None:
            workers[place].send_signal(signal.SIGKILL)
            workers[place].wait()
            killed += 1
            workers[place] = begin()
    for one in workers:
        one.wait()
    time.sleep(LEASE)  # of one that was killed with its record stored
    begin().wait()
    return judged(folder, trials) | {"kills": killed}


def pause(folder: Path, times: int = 5) -> dict[str, Any]:
    """Stop a worker beyond its lease while another measures its trial, then let it go on."""
    totals = collections.Counter[str]()
    for number in range(times):
        place = folder / str(number)
        Store(place).prepare()
        (place / "go").touch()
        first = start(place, 1, 1.0, 1.0)
        log = place / "log"
        while not (log.exists() and "begin" in log.read_text()):
            time.sleep(0.01)
        time.sleep(0.1 * number)
        first.send_signal(signal.SIGSTOP)
        second = start(place, 1, 1.0, 1.0)
        second.wait(60)
        first.send_signal(signal.SIGCONT)
        first.wait(60)
        totals.update(judged(place, 1))
    return dict(totals)


def main() -> None:
    """Carry out what is asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        trials, lease, seconds, hidden = given.work.split(",")
        work(given.folder, int(trials), float(lease), float(seconds), hidden=hidden == "1")
        return
    found = {
        "share": share(given.folder / "share", given.workers, given.trials),
        "cost": cost(given.folder / "cost"),
        "kill": kill(given.folder / "kill", given.kills, hidden=False),
        "kill_elsewhere": kill(given.folder / "elsewhere", given.kills, hidden=True),
        "pause": pause(given.folder / "pause"),
    }
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
