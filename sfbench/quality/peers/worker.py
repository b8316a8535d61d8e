"""The main program of a peer's process: `python -m sfbench.quality.peers.worker JOB.json ANSWER.json`.

What the peer prints, its global random state and its crash stay here.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from sfbench.api.errors import first_line
from sfbench.quality.peers import PEERS


def answer(job: dict[str, Any]) -> dict[str, Any]:
    """Return a peer's numbers, or why there are none."""
    import torch

    module = PEERS[job["peer"]]
    torch.set_num_threads(job["threads"])
    versions = {name: metadata.version(name) for name in (module.DISTRIBUTION, "scipy", "numpy")}
    start = time.perf_counter()
    try:
        folders = (Path(job[side]) for side in ("generated", "real"))
        values = module.values(*folders, Path(job["weights"]), job["batch"], job["device"])
    except Exception as error:  # noqa: BLE001  # whatever another package raises is its answer
        return {"versions": versions, "reason": f"{type(error).__name__}: {first_line(error)}"}
    return {
        "versions": versions,
        "values": dict(values),
        "seconds": time.perf_counter() - start,
    }


if __name__ == "__main__":
    job_file, answer_file = map(Path, sys.argv[1:])
    told = answer(json.loads(job_file.read_text(encoding="utf-8")))
    answer_file.write_text(json.dumps(told), encoding="utf-8")
