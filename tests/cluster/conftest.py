"""The cluster that these tests share; they run in a session of their own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from slurm_here import Slurm, missing


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """Return a running Slurm of two nodes."""
    if "SFBENCH_CLUSTER" not in os.environ:
        pytest.skip("runs in nox -s cluster")
    if missing():
        pytest.skip(f"Slurm is not installed here: {', '.join(missing())}")
    found = Slurm(tmp_path_factory.mktemp("slurm"))
    try:
        found.start()
        yield found
    finally:
        found.end()
