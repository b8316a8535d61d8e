"""Bundles: what is exported comes back as it was, once, and replaces nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from sfbench.store import album

Command = Callable[..., subprocess.CompletedProcess[str]]
PUBLISHED = Path(__file__).parents[2] / "results" / "published"


def changed(**fields: object) -> str:
    """Return a published record with other fields."""
    record = json.loads(next(iter(sorted(PUBLISHED.glob("*.json")))).read_text())
    return json.dumps(record | fields)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    shutil.copytree(PUBLISHED, tmp_path / "store" / "runs")
    return tmp_path / "store"


def records(folder: Path) -> list[str]:
    texts = (path.read_text() for path in folder.glob("*.json"))
    return sorted(json.dumps(json.loads(text), sort_keys=True) for text in texts)


def test_a_bundle_brings_the_records_and_replaces_nothing(
    store: Path, sfbench: Command, tmp_path: Path
) -> None:
    done = sfbench("export", "all.zip", "--store", "store")
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / "all.zip") as bundle:
        assert b"<!doctype html>" in bundle.read("report.html")
        assert bundle.read("report.csv").count(b"\n") > 24
    assert sfbench("import", "all.zip", "--store", "other").returncode == 0
    assert records(tmp_path / "other" / "imported") == records(store / "runs")
    assert not list((tmp_path / "other" / "runs").glob("*.json"))
    mine = sfbench("report", "--store", "other")
    assert mine.returncode == 5
    assert "show those of others with --imported" in mine.stderr
    theirs = sfbench("report", "--store", "other", "--imported", "--format", "csv").stdout
    assert theirs.count(",imported,imported:") == 24
    assert sfbench("export", "again.zip", "--store", "other").returncode == 5
    assert sfbench("export", "again.zip", "--store", "other", "--imported").returncode == 0
    with zipfile.ZipFile(tmp_path / "again.zip") as bundle:
        (one, *_) = (name for name in bundle.namelist() if name.startswith("records/"))
        assert ":" not in json.loads(bundle.read(one))["identity"]
    again = sfbench("import", "all.zip", "--store", "other")
    assert "0 records added, 24 already present" in again.stdout
    part = sfbench("export", "part.zip", "--store", "store", "--model", "stylegan2", "--res", "32")
    assert "2 records" in part.stdout


@pytest.mark.usefixtures("store")
def test_a_bundle_holds_what_a_reader_wants_to_see(sfbench: Command, tmp_path: Path) -> None:
    done = sfbench("export", "speed.zip", "--store", "store", "--suite", "styleformer-speed")
    assert done.returncode == 0, done.stderr
    # Eight at full scale, two at smoke; StyleGAN2 was measured before it had an option more.
    assert "10 records" in done.stdout
    with zipfile.ZipFile(tmp_path / "speed.zip") as bundle:
        names = bundle.namelist()
        assert "styleformer-linformer" in bundle.read("suite.toml").decode()
        about = json.loads(bundle.read("environment.json"))
        assert about["machines"][0]["name"] == "83a9f05ec556"
        figures = [name for name in names if name.startswith("figures/")]
        assert {Path(name).suffix for name in figures} == {".svg", ".csv", ".json"}
    none = sfbench("export", "none.zip", "--store", "store", "--suite", "styleformer-paper")
    assert none.returncode == 5


def test_pictures_come_along_and_go_nowhere_else(
    store: Path, sfbench: Command, tmp_path: Path
) -> None:
    records = [json.loads(path.read_text()) for path in (store / "runs").glob("*.json")]
    case = next(record["case"] for record in records if record["case"]["resolution"] == 32)
    folder = album.place(store, case)
    folder.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(folder / "samples.png")
    album.enter(folder, case, "samples", "eight black pixels", {})
    assert sfbench("export", "all.zip", "--store", "store").returncode == 0
    with zipfile.ZipFile(tmp_path / "all.zip", "a") as bundle:
        for name in ("pictures/../samples.png", "pictures/a/../../b.png", "pictures/a/run.py"):
            bundle.writestr(name, "hostile")
        bundle.writestr("pictures/nobody-1234/samples.png", "of no record")
    done = sfbench("import", "all.zip", "--store", "other")
    assert "pictures of 1 model without a record are kept" in done.stderr
    assert "nobody-1234" in done.stderr
    assert "pictures of 2 cases," in done.stdout
    (found,) = (
        path
        for path in (tmp_path / "other" / "pictures").rglob("*")
        if path.is_dir() and "nobody" not in path.name
    )
    assert {path.name for path in found.iterdir()} == {"samples.png", "about.json"}
    assert not (tmp_path / "other" / "samples.png").exists()
    assert album.open_album(tmp_path / "other", case) is not None


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"readme.txt": "x"}, "contains no records"),
        (
            {"records/a.json": "{}"},
            "records/a.json: not a record (expected record schema 1, found None",
        ),
        ({"records/a.json": changed(identity="../../evil")}, "invalid identity, trial or attempt"),
        ({"records/a.json": changed(trial="../0")}, "records/a.json: not a record"),
        ({"records/a.json": changed(attempt=-1)}, "Expected `int` >= 0 - at `$.attempt`"),
        ({"records/a.json": changed(case={"model": "x"})}, "records/a.json: not a record"),
        ({"records/../../a.json": "{}"}, "contains no records"),
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
    assert not (tmp_path / "store").exists()
    assert list(tmp_path.rglob("*evil*")) == []


def test_a_flipped_bit_is_an_error_of_one_line(sfbench: Command, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("records/a.json", changed())
    content = bytearray((tmp_path / "bad.zip").read_bytes())
    content[60:200] = bytes(140)
    (tmp_path / "bad.zip").write_bytes(content)
    done = sfbench("import", "bad.zip", "--store", "store")
    assert done.returncode == 2
    assert "not a readable bundle" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.fast
def test_what_is_no_bundle_is_refused(sfbench: Command, tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("no zip", encoding="utf-8")
    assert "not a readable bundle" in sfbench("import", "text.zip").stderr
    assert sfbench("export", "none.zip", "--store", "empty").returncode == 5
