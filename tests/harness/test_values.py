from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from making import a_case, a_record

from sfbench.api.errors import DataError, UsageError
from sfbench.api.spec import Option
from sfbench.store.runs import Store
from sfbench.values.case import Source
from sfbench.values.records import Reading, Record, record_from_json, record_to_json
from sfbench.values.sizes import parse_resolutions

pytestmark = pytest.mark.fast

CASE = a_case(
    options={"a": 1, "b": (1, 2)},
    weights=Source(kind="file", path="/here/w.pt", sha256="ab"),
    data=Source(kind="shapes"),
    extractor=Source(kind="cifar-cnn7"),
    measure=("speed", "quality"),
    samples=128,
)


def record(**changes: object) -> Record:
    reading = Reading(metric="x", unit="s", value=1.5, samples=(1.0, 2.0))
    plain = {"identity": "0" * 64, "case_key": CASE.key(), "case": CASE.inputs()}
    return a_record([reading], **plain | changes)


@pytest.mark.parametrize(
    ("text", "sides"),
    [
        ("32", (32,)),
        ("32,64,32", (32, 64)),
        ("32:256*2", (32, 64, 128, 256)),
        ("32:200", (32, 64, 128)),
        ("8,16:64*4", (8, 16, 64)),
    ],
)
def test_resolutions_are_lists_and_ranges(text: str, sides: tuple[int, ...]) -> None:
    assert parse_resolutions(text) == sides


@pytest.mark.parametrize(
    "text", ["", "x", "-8", "0", "32:", "64:32*2", "8:64*1", "32.5", "9999999"]
)
def test_what_is_no_resolution_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageError, match=r"^resolution [^\n]+$"):
        parse_resolutions(text)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("int", "3", 3),
        ("float", "0.5", 0.5),
        ("ints", "1,2", (1, 2)),
        ("bool", "Yes", True),
        ("bool", "off", False),
        ("str", "a", "a"),
        ("path", "x/y", "x/y"),
    ],
)
def test_an_option_is_parsed_by_its_kind(kind: str, text: str, value: object) -> None:
    assert Option(name="o", kind=kind, help="").parse(text) == value


def test_an_option_says_what_it_expected() -> None:
    with pytest.raises(UsageError, match="option o=x: expected int"):
        Option(name="o", kind="int", help="").parse("x")
    with pytest.raises(UsageError, match="expected one of a, b"):
        Option(name="o", kind="str", help="", choices=("a", "b")).parse("c")


def test_the_key_ignores_where_files_lie_and_notices_what_is_in_them() -> None:
    moved = dataclasses.replace(CASE, weights=Source(kind="file", path="/there", sha256="ab"))
    other = dataclasses.replace(CASE, weights=Source(kind="file", path="/here/w.pt", sha256="cd"))
    assert moved.key() == CASE.key()
    assert other.key() != CASE.key()


def test_the_key_ignores_quality_settings_where_quality_is_not_measured() -> None:
    first = dataclasses.replace(CASE, measure=("speed",), samples=1)
    second = dataclasses.replace(CASE, measure=("speed",), samples=2, data=Source(kind="files"))
    assert first.key() == second.key()


def test_a_reading_is_a_value_or_a_reason_and_never_nan() -> None:
    for wrong in ({}, {"value": 1.0, "reason": "x"}, {"value": float("nan")}):
        with pytest.raises(ValueError, match="reading x"):
            Reading(metric="x", unit="", **wrong)
    assert Reading(metric="x", unit="", value=0.0).value == 0


def test_a_record_survives_its_json() -> None:
    assert record_from_json(record_to_json(record())) == record_from_json(
        record_to_json(record_from_json(record_to_json(record())))
    )
    assert json.loads(record_to_json(record()))["schema"] == 1


@pytest.mark.parametrize("text", ["{}", "[]", '{"schema": 2}', '{"schema": 1}', "not json"])
def test_text_that_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"record|Expected `object`|malformed|missing required field"
    ):
        record_from_json(text)


def test_a_stored_record_is_never_replaced(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = store.add(record())
    before = first.read_bytes()
    second = store.add(record(status="killed", reason="x"))
    assert first != second
    assert first.read_bytes() == before
    assert [found.attempt for found in store.attempts("0" * 64, 0)] == [0, 1]
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize(
    ("status", "final"),
    [("ok", True), ("oom", True), ("nonfinite", True), ("killed", False), ("timeout", False)],
)
def test_only_a_final_status_settles_a_trial(status: str, final: bool, tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(record(status=status, reason="x"))
    assert (store.settled("0" * 64, 0) is not None) == final
    assert store.settled("0" * 64, 1) is None


def test_a_damaged_file_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(record())
    (store.runs / "bad.json").write_text("{")
    records, unreadable = store.load()
    assert len(records) == 1
    assert [bad.path.name for bad in unreadable] == ["bad.json"]


WRITER = """
import sys
from pathlib import Path
from sfbench.values.records import record_from_json
from sfbench.store.runs import Store
record = record_from_json(Path(sys.argv[2]).read_text())
for _ in range(20):
    Store(Path(sys.argv[1])).add(record)
"""


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    given = tmp_path / "record.json"
    given.write_text(record_to_json(record()))
    command = [sys.executable, "-c", WRITER, str(tmp_path), str(given)]
    writers = [subprocess.Popen(command) for _ in range(4)]
    assert [writer.wait() for writer in writers] == [0, 0, 0, 0]
    records, unreadable = Store(tmp_path).load()
    assert len(records) == 80
    assert not unreadable
    assert not list(tmp_path.rglob("*.part"))


def test_a_store_that_cannot_hold_records_says_so_before_any_work(tmp_path: Path) -> None:
    store = Store(tmp_path / "made" / "deep")
    store.prepare()
    store.prepare()
    assert list(store.runs.iterdir()) == []
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(
        DataError, match=r"--store .*file: records cannot be stored there .*writable"
    ):
        Store(tmp_path / "file").prepare()


def test_a_file_system_without_hard_links_is_refused_and_nothing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(_source: str, _target: str) -> None:
        raise PermissionError

    monkeypatch.setattr("os.link", link)
    store = Store(tmp_path)
    with pytest.raises(DataError, match="hard links"):
        store.prepare()
    assert list(store.runs.iterdir()) == []


def test_a_store_is_empty_until_a_record_is_there(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.is_empty()
    store.prepare()
    (store.runs / "note.txt").write_text("x")
    assert store.is_empty()
    store.add(record())
    assert not store.is_empty()
    (tmp_path / "other" / "published").mkdir(parents=True)
    (tmp_path / "other" / "published" / "a.json").write_text("{}")
    assert not Store(tmp_path / "other").is_empty()
