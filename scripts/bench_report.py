"""Time reports over many records: the first, which builds the index, then each format.

    python scripts/bench_report.py [--records 100000] [--store FOLDER]

The records are copies of the published ones, five trials per case, under other identities. What is
timed is the whole command, Python's start included. It takes about 1 kB of memory and 10 kB of
disk per record.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PUBLISHED = Path(__file__).parents[1] / "results" / "published"
TRIALS = 5
NOISE = 0.05
FORMATS = ("table", "csv", "json")


def fill(store: Path, count: int) -> None:
    """Write records into the store."""
    documents = [json.loads(path.read_text()) for path in sorted(PUBLISHED.glob("*.json"))]
    source = random.Random(0)  # noqa: S311  # noise, not a secret
    (store / "runs").mkdir(parents=True, exist_ok=True)
    for number in range(count):
        case, trial = divmod(number, TRIALS)
        record = json.loads(json.dumps(documents[case % len(documents)]))
        record["case"]["seed"] = case // len(documents)
        for name in ("case_key", "identity"):
            record[name] = hashlib.sha256(f"{name} {case}".encode()).hexdigest()
        record |= {"trial": trial, "attempt": 0}
        factor = source.gauss(1, NOISE)
        for reading in record["readings"]:
            if reading["metric"].startswith("throughput"):
                for name in ("value", "low", "high"):
                    if reading[name] is not None:
                        reading[name] *= factor
        path = store / "runs" / f"{record['identity'][:24]}-t{trial}-a0.json"
        path.write_text(json.dumps(record, sort_keys=True, indent=1), encoding="utf-8")


def seconds(*arguments: str) -> float:
    """Return how long a command takes; raises CalledProcessError if it fails."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "sfbench", "report", *arguments]
    subprocess.run(  # noqa: S603  # this program
        command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return time.perf_counter() - start


def main() -> int:
    """Fill a store and print one line per report."""
    parser = argparse.ArgumentParser(description="Reports over many records.")
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--store", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        store = given.store or Path(temporary) / "store"
        fill(store, given.records)
        where = ("--store", str(store))
        print(f"{given.records:,} records; first report: {seconds(*where):.1f} s")
        for form in FORMATS:
            print(f"{form:<6} {seconds('--format', form, *where):.1f} s")
        page = Path(temporary) / "report.html"
        print(f"html   {seconds('--html', str(page), *where):.1f} s, {page.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
