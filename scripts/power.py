"""How often `sfbench compare --live` errs, on synthetic generators: `python scripts/power.py`.

    python scripts/power.py [--quads 12] [--extra 0.05] [--only quiet,extra,busy] [--out FILE.json]

Three pools of quads are measured, every process fresh: identical code on the machine as it is
("quiet"); B with `--extra` more work ("extra"); and identical code beside a busy neighbor, which
takes a whole processor for up to two seconds, leaves it for up to two, and so on ("busy").
Then comparisons of eight quads are drawn from a pool, each with the confirming second one, and
judged by the product's own rules: the share of confirmed verdicts is the false-alarm rate (A/A) or
the power (A/B). Drawing from a pool takes quads as exchangeable; drifts longer than a quad are in
the pool, not in their order.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from sfbench.cli import comparing, defaults
from sfbench.cli.progress import PassProgress
from sfbench.report import comparison
from sfbench.report.comparison import Quad
from sfbench.run.launchers.local import launch
from sfbench.run.live import measured_legs, quads_of
from sfbench.values.case import Request

COMPARED = 8
DRAWS = 4000
BURST_SECONDS = 2.0


def spin() -> None:
    """Be a busy neighbor: alternate between work and sleep, for random times."""
    source = np.random.default_rng()
    parent = os.getppid()
    while os.getppid() == parent:  # a killed parent must not leave a busy orphan behind
        until = time.monotonic() + source.uniform(0, BURST_SECONDS)
        while time.monotonic() < until:
            pass
        time.sleep(source.uniform(0, BURST_SECONDS))


@contextlib.contextmanager
def neighbor(*, busy: bool) -> Iterator[None]:
    """Run beside a process that uses a whole processor, if `busy`."""
    process = multiprocessing.get_context("spawn").Process(target=spin, daemon=True)
    if busy:
        process.start()
    try:
        yield
    finally:
        if busy:
            process.kill()
            process.join()


def pool(b: str, count: int) -> list[Quad]:
    """Return that many quads of `synthetic` against `b`."""
    asked = comparing.Asked(
        a="synthetic", b=b, live=True, quads=count, fail_on=(), store=defaults.STORE
    )
    catalogue = defaults.catalogue([], [])
    shared = Request(model="")
    jobs = [comparing.side_jobs(side, shared, catalogue, asked)[0] for side in ("synthetic", b)]
    bar = PassProgress(sys.stderr, live=sys.stderr.isatty(), quiet=False)
    legs = measured_legs(*jobs, count, launch, timeout_seconds=600, progress=bar)
    bar.clear()
    return quads_of(legs, "throughput.core") or []


def shares(quads: Sequence[Quad]) -> dict[str, float]:
    """Return how often drawn comparisons end in each verdict, and how often one is confirmed."""
    source = np.random.default_rng(0)
    counts: dict[str, float] = {}
    for _ in range(DRAWS):
        verdicts = [
            comparison.of_quads(
                [quads[i] for i in source.integers(len(quads), size=COMPARED)]
            ).verdict()
            for _ in range(2)
        ]
        first = verdicts[0]
        counts[first] = counts.get(first, 0) + 1 / DRAWS
        if first in {"faster", "slower"} and verdicts[0] == verdicts[1]:
            counts[f"confirmed {first}"] = counts.get(f"confirmed {first}", 0) + 1 / DRAWS
    return counts


def main() -> None:
    """Measure, resample, print, and save the quads if requested."""
    parser = argparse.ArgumentParser(description="False alarms and power of live comparisons.")
    parser.add_argument("--quads", type=int, default=12)
    parser.add_argument("--extra", type=float, default=0.05)
    parser.add_argument("--only", default="quiet,extra,busy")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    comparison.BOOTSTRAPS = 400  # the interval decides "same" alone; thousands are drawn here
    document = {}
    pools = {
        "quiet": ("identical code", "synthetic", False),
        "extra": (f"{given.extra:.0%} more work", f"synthetic,extra={given.extra}", False),
        "busy": ("identical code, busy neighbor", "synthetic", True),
    }
    for name, b, busy in (pools[key] for key in given.only.split(",")):
        with neighbor(busy=busy):
            quads = pool(b, given.quads)
        whole = comparison.of_quads(quads)
        found = shares(quads)
        text = ", ".join(
            f"{verdict} {100 * share:.1f} %" for verdict, share in sorted(found.items())
        )
        noise = 100 * comparison.own_noise(quads)
        print(
            f"{name}: {len(quads)} quads, ratio {whole.ratio:.4f} [{whole.low:.4f}, {whole.high:.4f}], "
            f"noise of a quad {noise:.2f} %\n  of {DRAWS} comparisons of {COMPARED} quads: {text}",
            flush=True,
        )
        document[name] = {"quads": [dataclasses.asdict(q) for q in quads], "shares": found}
    if given.out is not None:
        given.out.write_text(json.dumps(document, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
