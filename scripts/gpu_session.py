"""Everything there is to do on a GPU that is lent for a while, in parts that go on where they ended.

    python scripts/gpu_session.py [CHECKOUT] [--store results/gpu] [--seconds 480] [--scale full]

In this order, as far as the time allows: the GPU tests; the suite `gpu`, by `sfbench work`; and, with a
checkout of the official Styleformer code, its models and its training beside ours. What is done is
noted in the store and not done again for the same commit; records are in its folder `runs`, fit for
results/published. Exits 0 when everything is done, 1 when something failed, 2 when time ran out: run
it again. Without an NVIDIA GPU it says so and exits 3.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from sfbench.hardware.devices import find_backend
from sfbench.run.identity import commit

ROOT = Path(__file__).parents[1]
LAST_TRIAL_SECONDS = 60
"""What a trial that was begun may still take."""
DONE, FAILED, MORE, NO_GPU = range(4)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to do once: a name, its command, and the seconds that it takes at most."""

    name: str
    command: Sequence[str]
    seconds: float


def steps(checkout: Path | None) -> list[Step]:
    """Return what is done once, before and after the suite."""
    found = [
        Step(
            name="tests",
            command=["-m", "pytest", "-q", str(ROOT / "tests" / "harness" / "test_gpu.py")],
            seconds=420,
        )
    ]
    for name in ("bench_models", "bench_training") if checkout else ():
        script = str(ROOT / "scripts" / f"{name}.py")
        for dtype in ("fp32", "tf32") if name == "bench_models" else ("tf32",):
            command = [script, str(checkout), "--device", "cuda", "--dtype", dtype]
            command += ["--kernels", "torch"] if name == "bench_training" else []
            found.append(Step(name=f"{name}-{dtype}", command=command, seconds=360))
    return found


def main() -> int:
    """Do what is left, within the time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", nargs="?", type=Path)
    parser.add_argument("--store", type=Path, default=Path("results/gpu"))
    parser.add_argument("--seconds", type=float, default=480.0)
    parser.add_argument("--scale", default="full")
    given = parser.parse_args()
    if not find_backend("cuda").present():
        print("no NVIDIA GPU here: nothing to do")
        return NO_GPU
    deadline = time.monotonic() + given.seconds
    given.store.mkdir(parents=True, exist_ok=True)
    noted = given.store / "session.json"
    done = json.loads(noted.read_text()) if noted.exists() else {}
    tests, *benches = steps(given.checkout)
    outcome = once(tests, done, noted, given.store, deadline)
    if outcome == MORE:
        return MORE
    left = suite(given.store, given.scale, deadline)
    found = [once(step, done, noted, given.store, deadline) for step in benches]
    found += [outcome, left]
    return MORE if MORE in found else max(found)


def once(step: Step, done: dict[str, str], noted: Path, store: Path, deadline: float) -> int:
    """Do a step that was not done for this commit, if there is time; keep what it prints."""
    if done.get(step.name) == commit():
        return DONE
    if deadline - time.monotonic() < min(step.seconds, 60):
        print(f"{step.name}: no time left; run this again")
        return MORE
    with (store / f"{step.name}.log").open("wb") as log:
        try:
            code = subprocess.run(  # noqa: S603  # our own scripts
                [sys.executable, *step.command],
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
                timeout=max(1.0, deadline - time.monotonic()),
            ).returncode
        except subprocess.TimeoutExpired:
            print(f"{step.name}: not finished in time; run this again")
            return MORE
    print(f"{step.name}: {'ok' if code == 0 else f'exit code {code}'}: {log.name}")
    if code == 0:
        done[step.name] = str(commit())
        noted.write_text(json.dumps(done, indent=1))
    return DONE if code == 0 else FAILED


def suite(store: Path, scale: str, deadline: float) -> int:
    """Measure what is missing of the suite, until the time is nearly over."""
    plan = store / "plan.json"
    program = [sys.executable, "-m", "sfbench"]
    made = [*program, "plan", "--suite", "gpu", "--scale", scale, "--out", str(plan)]
    subprocess.run(made, check=True)  # noqa: S603  # this program
    seconds = deadline - time.monotonic() - LAST_TRIAL_SECONDS
    if seconds <= 0:
        return MORE
    work = ["work", "--plan", str(plan), "--store", str(store), "--max-seconds", f"{seconds:.0f}"]
    subprocess.run([*program, *work], check=False)  # noqa: S603  # this program
    status = [*program, "status", str(plan), "--store", str(store), "--json"]
    text = subprocess.run(status, check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603  # this program
    (standing,) = json.loads(text)
    print(f"suite: {standing['done']} of {standing['total']} trials done")
    if standing["left"]:
        return MORE
    return FAILED if standing["failed"] else DONE


if __name__ == "__main__":
    sys.exit(main())
