"""Bundles: what is exported comes back as it was, once, and replaces nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]
PUBLISHED = Path(__file__).parents[2] / "results" / "published"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    shutil.copytree(PUBLISHED, tmp_path / "store" / "runs")
    return tmp_path / "store"


def records(folder: Path) -> list[str]:
    texts = (path.read_text() for path in (folder / "runs").glob("*.json"))
    return sorted(json.dumps(json.loads(text), sort_keys=True) for text in texts)


@pytest.mark.fast
def test_a_bundle_brings_the_records_and_replaces_nothing(
    store: Path, sfbench: Command, tmp_path: Path
) -> None:
    done = sfbench("export", "all.zip", "--store", "store")
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / "all.zip") as bundle:
        assert b"<!doctype html>" in bundle.read("report.html")
        assert bundle.read("report.csv").count(b"\n") > 24
    assert sfbench("import", "all.zip", "--store", "other").returncode == 0
    assert records(tmp_path / "other") == records(store)
    again = sfbench("import", "all.zip", "--store", "other")
    assert "0 records added, 24 were there already" in again.stdout
    part = sfbench("export", "part.zip", "--store", "store", "--model", "stylegan2", "--res", "32")
    assert "2 records" in part.stdout


@pytest.mark.fast
@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"readme.txt": "x"}, "no records in it"),
        ({"records/a.json": "{}"}, "records/a.json: record schema None"),
        ({"records/../../a.json": "{}"}, "no records in it"),
    ],
)
def test_a_damaged_bundle_adds_nothing(
    members: dict[str, str], words: str, sfbench: Command, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as bundle:
        for name, text in members.items():
            bundle.writestr(name, text)
    done = sfbench("import", "bad.zip", "--store", "store")
    assert done.returncode == 2
    assert words in done.stderr
    assert list((tmp_path / "store" / "runs").iterdir()) == []


@pytest.mark.fast
def test_what_is_no_bundle_is_refused(sfbench: Command, tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("no zip", encoding="utf-8")
    assert "not a readable bundle" in sfbench("import", "text.zip").stderr
    assert sfbench("export", "none.zip", "--store", "empty").returncode == 5
