"""Kill `sfbench run` again and again: nothing finished may be lost, repeated or left behind.

    python scripts/kill_runs.py FOLDER [--kills 100]

Measures a grid of small cases; at random moments the command gets SIGKILL, SIGTERM or SIGINT, its
whole process group SIGKILL, or the trial's process SIGKILL; the same command goes on. A trial is
lost if the command said that it was ok and no record is stored, repeated if two ok records of it
are, and left is every process and temporary folder after a kill and the sweep of the next start.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import re
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

from faulty_plugins import MARK, left_processes

GRID = ("--model", "synthetic", "--res", "8:64*2", "--batch", "1,2,4", "--measure", "memory")
FINISHED = re.compile(r"^  ok \(", re.MULTILINE)
GRACE = 3.0
"""Seconds for the processes of a killed command to end."""
WAYS = ("SIGKILL", "SIGTERM", "SIGINT", "group", "worker")


class Campaign:
    """One store, and what is known of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scratch = folder / "tmp"
        self.scratch.mkdir(parents=True)
        self.mark = secrets.token_hex(8)
        self.log = folder / "log"
        self.ok: set[str] = set()

    def start(self) -> subprocess.Popen[bytes]:
        """Start the command."""
        command = [
            sys.executable, "-m", "sfbench", "run", *GRID, "--device", "cpu", "--json",
            "--store", str(self.folder / "results"),
        ]  # fmt: skip
        environment = {
            **os.environ, MARK: self.mark, "TMPDIR": str(self.scratch),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
        }  # fmt: skip
        with self.log.open("wb") as log:
            return subprocess.Popen(  # noqa: S603  # this program
                command,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )

    def stored(self) -> dict[tuple[str, int], list[str]]:
        """Return the files of ok records by trial."""
        found: dict[tuple[str, int], list[str]] = collections.defaultdict(list)
        for path in sorted((self.folder / "results" / "runs").glob("*.json")):
            record = json.loads(path.read_text())
            if record["status"] == "ok":
                found[record["identity"], record["trial"]].append(path.name)
        return found

    def judged(self) -> tuple[int, int]:
        """Return how many trials are lost since the last start, and how many repeated."""
        there = self.stored()
        files = {name for names in there.values() for name in names}
        said = len(FINISHED.findall(self.log.read_text()))
        lost = len(self.ok - files) + max(said - len(files - self.ok), 0)
        repeated = sum(len(names) - 1 for names in there.values())
        self.ok = files
        return lost, repeated


def workers(mark: str) -> list[int]:
    """Return the process numbers of trials."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            ours = mark.encode() in (place / "environ").read_bytes()
            if ours and b"sfbench.trial.worker" in (place / "cmdline").read_bytes():
                found.append(int(place.name))
        except OSError:
            continue
    return found


def kill(child: subprocess.Popen[bytes], way: str, mark: str) -> None:
    """End the command in that way; after its worker's death it goes on a little, then ends."""
    if way == "worker":
        for number in workers(mark):
            os.kill(number, signal.SIGKILL)
        time.sleep(1)
        child.send_signal(signal.SIGINT)
    elif way == "group":
        os.killpg(child.pid, signal.SIGKILL)
    else:
        child.send_signal(getattr(signal, way))
    child.wait(30)


def main() -> int:
    """Print what was lost, repeated and left."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=100)
    given = parser.parse_args()
    source = random.Random(0)  # noqa: S311  # not for secrets
    total: collections.Counter[str] = collections.Counter()
    campaigns = 0
    campaign: Campaign | None = None
    while total["kills"] < given.kills:
        if campaign is None:
            campaigns += 1
            campaign = Campaign(given.folder / str(campaigns))
        child = campaign.start()
        try:
            child.wait(source.uniform(0.3, 9))
        except subprocess.TimeoutExpired:
            way = WAYS[total["kills"] % len(WAYS)]
            kill(child, way, campaign.mark)
            total["kills"] += 1
            total[way] += 1
        until = time.monotonic() + GRACE
        while (left := left_processes(campaign.mark)) and time.monotonic() < until:
            time.sleep(0.1)
        lost, repeated = campaign.judged()
        total["lost"] += lost
        total["repeated"] += repeated
        total["processes left"] += len(left)
        if lost or repeated or left:
            print(
                f"kill {total['kills']}: lost {lost}, repeated {repeated}, left {left}", flush=True
            )
        if child.returncode == 0:
            names = [path.name for path in campaign.scratch.iterdir()]
            total["folders left"] += sum(not n.startswith("torchinductor_") for n in names)
            campaign = None
    print(f"{campaigns} campaigns,", ", ".join(f"{n} {name}" for name, n in total.items()))
    print(
        f"0 wanted: lost {total['lost']}, repeated {total['repeated']}, "
        f"processes left {total['processes left']}, folders left {total['folders left']}"
    )
    return int(any(total[name] for name in ("lost", "repeated", "processes left", "folders left")))


if __name__ == "__main__":
    sys.exit(main())
