"""Kill a training run on two processes again and again; it must end as if nothing had happened.

    python scripts/kill_training.py FOLDER [--kills 20] [--kimg 6]

Trains nano-16 of Styleformer under torchrun twice: once undisturbed, once with kill -9 to the
whole process group at random times, resumed each time. Prints one line per kill: the work lost
(from the newest intact state to the kill), and the time from its start until training continues,
beside a bare `import torch` at that moment. Exits 1 unless the ends are equal bit for bit, no kill
cost 30 s, and none took longer than 10 s and torch's import to come back.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from sfbench.train.state import load_state, states

MOST_LOST, MOST_BACK = 30.0, 10.0
FIRST, LAST = 0.5, 5.0
"""A kill comes this many seconds after training continues."""


def start(folder: Path, kimg: str) -> subprocess.Popen[bytes]:
    """Start or resume on two processes; return when the run reports where it begins."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        "-m", "sfbench", "train", "--model", "styleformer", "--preset", "nano-16", "--kimg", kimg,
        "--metrics", "0", "--threads", "1", "--device", "cpu", "--out", str(folder), "--resume",
    ]  # fmt: skip
    told = folder.with_suffix(".txt")
    with told.open("wb") as messages:
        child = subprocess.Popen(  # noqa: S603  # this program
            command, stdout=subprocess.DEVNULL, stderr=messages, start_new_session=True
        )
    while "\ntraining " not in f"\n{told.read_text()}":
        if child.poll() is not None:
            sys.exit(f"the run ended with exit code {child.returncode}: {told.read_text()}")
        time.sleep(0.02)
    return child


def import_seconds() -> float:
    """Return how long a bare import of torch takes now."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)  # this Python
    return time.monotonic() - began


def killed(folder: Path, kimg: str, source: random.Random) -> tuple[float, float] | None:
    """Run for a while and kill; return seconds to begin and seconds lost, None at the end."""
    began = time.monotonic()
    child = start(folder, kimg)
    back = time.monotonic() - began
    until = time.monotonic() + source.uniform(FIRST, LAST)
    while time.monotonic() < until and child.poll() is None:
        time.sleep(0.05)
    if child.poll() is not None:
        if child.returncode:
            sys.exit(f"the run ended with exit code {child.returncode}")
        return None
    os.killpg(child.pid, signal.SIGKILL)
    at = time.time()
    child.wait()
    return back, at - states(folder)[0].stat().st_mtime


def equal(a: Any, b: Any) -> bool:
    """Return whether two states hold the same bits."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return bool(a == b)


def main() -> int:
    """Print one line per kill, and the verdict."""
    parser = argparse.ArgumentParser(description="Kill a training run on two processes.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--kimg", default="6")
    given = parser.parse_args()
    whole, cut = given.folder / "whole", given.folder / "cut"
    given.folder.mkdir(parents=True, exist_ok=True)
    if start(whole, given.kimg).wait():
        sys.exit("the undisturbed run failed")
    source = random.Random(0)  # noqa: S311  # moments, not a secret
    found = []
    for number in range(given.kills):
        told = killed(cut, given.kimg, source)
        if told is None:
            sys.exit(f"the run ended after {number} kills: increase --kimg")
        found.append((*told, import_seconds()))
        print(
            f"kill {number + 1:2}: began after {told[0]:5.1f} s (import torch {found[-1][2]:.1f} s), "
            f"lost {told[1]:4.1f} s",
            flush=True,
        )
    if start(cut, given.kimg).wait():
        sys.exit("the last part failed")
    ends = [load_state(folder) for folder in (whole, cut)]
    same = None not in ends and equal(ends[0].tree, ends[1].tree)  # type: ignore[union-attr]  # not None
    lost = max(one[1] for one in found)
    back = max(one[0] - one[2] for one in found)
    print(
        f"{given.kills} kills: ends {'equal' if same else 'DIFFER'}; most lost {lost:.1f} s "
        f"(allowed {MOST_LOST:.0f}); back at most {back:.1f} s beyond import torch (allowed "
        f"{MOST_BACK:.0f})"
    )
    return int(not same or lost > MOST_LOST or back > MOST_BACK)


if __name__ == "__main__":
    sys.exit(main())
