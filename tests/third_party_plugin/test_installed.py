"""Run by the session `plugin`, where sfbench and this distribution are installed as wheels."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

metadata = pytest.importorskip("sfbench_pixelnoise", reason="runs in nox -s plugin")


def sfbench(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "sfbench", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def test_the_strangers_model_is_listed_checked_and_measured(tmp_path: Path) -> None:
    rows = {row["name"]: row for row in json.loads(sfbench(tmp_path, "list", "--json"))}
    assert rows["pixelnoise"]["plugin"] == "pixelnoise"
    assert "styleformer" in rows
    assert all(
        r["passed"]
        for r in json.loads(sfbench(tmp_path, "check", "pixelnoise", "--json"))["pixelnoise"]
    )
    records = json.loads(
        sfbench(
            tmp_path, "run", "--model", "pixelnoise", "--res", "16", "--samples", "16", "--json"
        )
    )
    assert [record["status"] for record in records] == ["ok", "ok"]
    plugin = {"name": "pixelnoise", "origin": "sfbench-pixelnoise 1.0"}
    assert all(record["provenance"]["plugin"] == plugin for record in records)
