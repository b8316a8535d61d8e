"""The index of a large store: it changes what is read, and nothing of what is shown."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from making import a_record

from sfbench.report import frame, index, reading
from sfbench.report.index import INDEXED_FROM, NAME, Indexed, indexed
from sfbench.report.measurements import measurements
from sfbench.store.runs import Store, file_name
from sfbench.values.records import Reading, Record, record_to_json

pytestmark = pytest.mark.fast
COUNT = INDEXED_FROM + 50


def record(number: int) -> Record:
    name = f"{number:024d}{0:040d}"
    return a_record(
        [
            Reading(
                metric="throughput.core", unit="images/s", value=number + 1.0, low=1.0, high=9e9
            ),
            Reading(metric="fid", unit="", reason="no weights"),
        ],
        identity=name,
        case_key=name,
        case={"model": f"m{number % 3}", "seed": number, "options": {"a": number % 2}},
        status="ok" if number % 10 else "oom",
        reason=None if number % 10 else "too large: ünïcode",
        flags=("noisy",) if number % 4 == 0 else (),
        machine="m",
        started=f"2026-01-01T00:{number // 60:02d}:{number % 60:02d}",
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    store.prepare()
    for number in range(COUNT):
        (store.runs / file_name(record(number))).write_text(record_to_json(record(number)))
    return store


def quiet(_what: str, _done: int, _total: int) -> None:
    """Show nothing."""


def shown(found: Indexed) -> pd.DataFrame:
    return frame.summary(found.found.of(frame.newest(found.found.heads)))


def test_with_and_without_an_index_the_frames_are_equal(store: Store) -> None:
    fresh = indexed(store, quiet)
    assert (store.root / NAME).is_file()
    again = indexed(store, quiet)
    direct = measurements(store.load()[0])
    for found in (fresh, again):
        pd.testing.assert_frame_equal(
            found.found.heads, direct.heads, check_dtype=False, check_column_type=False
        )
        pd.testing.assert_frame_equal(found.found.readings, direct.readings, check_dtype=False)
    assert len(shown(again)) == COUNT


def test_what_is_new_changed_or_gone_is_noticed(store: Store) -> None:
    indexed(store, quiet)
    store.add(record(COUNT))
    (store.runs / file_name(record(0))).unlink()
    other = dataclasses.replace(record(1), flags=("changed",))
    (store.runs / file_name(record(1))).write_text(record_to_json(other))
    found = indexed(store, quiet)
    names = found.found.heads["identity"]
    assert len(names) == COUNT
    assert record(0).identity not in set(names)
    assert record(COUNT).identity in set(names)
    changed = found.found.heads.set_index("identity").loc[other.identity]
    assert changed["flags"] == "changed"


def test_an_old_file_is_not_read_again(store: Store) -> None:
    indexed(store, quiet)
    path = store.runs / file_name(record(5))
    status = path.stat()
    path.write_text("x" * status.st_size)
    os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))
    assert len(indexed(store, quiet).found) == COUNT


@pytest.mark.parametrize("content", [b"", b"no index", None])
def test_a_damaged_index_costs_time_and_nothing_else(store: Store, content: bytes | None) -> None:
    indexed(store, quiet)
    whole = (store.root / NAME).read_bytes()
    (store.root / NAME).write_bytes(whole[: len(whole) // 2] if content is None else content)
    assert len(indexed(store, quiet).found) == COUNT


def test_an_index_of_other_code_is_not_used(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    indexed(store, quiet)
    assert index.load(store.root / NAME) is not None
    monkeypatch.setattr(index, "layout", lambda: "another")
    assert index.load(store.root / NAME) is None


def test_a_store_may_be_named_in_another_way(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    indexed(store, quiet)
    written = (store.root / NAME).stat().st_mtime_ns
    monkeypatch.chdir(store.root.parent)
    other = Store(Path(store.root.name))
    found = indexed(other, quiet)
    assert (store.root / NAME).stat().st_mtime_ns == written
    assert len(found.records([0, 1])) == 2
    assert (store.root / NAME).stat().st_mode & 0o777 == 0o666 & ~umask()


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_the_newest_cases_are_taken_whole() -> None:
    trials = [
        dataclasses.replace(
            record(number // 3), trial=number % 3, started=f"2026-01-01T00:00:{number:02d}"
        )
        for number in range(12)
    ]
    heads = measurements(trials).heads
    assert frame.most_recent(heads, 7).tolist() == list(range(6, 12))
    assert frame.most_recent(heads, 1).tolist() == [9, 10, 11]
    assert frame.most_recent(heads, 99).tolist() == list(range(12))


def test_unreadable_files_are_named_each_time(store: Store) -> None:
    (store.runs / "bad.json").write_text("{}")
    for _ in range(2):
        found = indexed(store, quiet)
        assert [bad.path.name for bad in found.unreadable] == ["bad.json"]
        assert len(found.found) == COUNT


def test_whole_records_are_found_again_by_position(store: Store) -> None:
    found = indexed(store, quiet)
    place = int(np.flatnonzero(found.found.heads["identity"] == record(7).identity)[0])
    assert found.records([place]) == [record(7)]


def test_several_processes_find_what_one_finds(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (store.runs / "bad.json").write_text("{}")
    alone = indexed(store, quiet)
    (store.root / NAME).unlink()
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(reading, "FEWEST_TOLD", 1)
    monkeypatch.setattr(reading, "CHUNK", 300)
    monkeypatch.setattr(reading, "cpu_count", lambda: 2)
    together = indexed(store, lambda _, done, total: told.append((done, total)))
    pd.testing.assert_frame_equal(together.found.heads, alone.found.heads)
    pd.testing.assert_frame_equal(together.found.readings, alone.found.readings)
    pd.testing.assert_frame_equal(together.files, alone.files)
    assert together.unreadable == alone.unreadable
    assert told[-1] == (COUNT + 1, COUNT + 1)


def test_where_no_process_can_be_started_this_one_reads(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError

    monkeypatch.setattr(reading, "FEWEST_TOLD", 1)
    monkeypatch.setattr(reading, "cpu_count", lambda: 2)
    monkeypatch.setattr(reading, "ProcessPoolExecutor", refuse)
    assert len(indexed(store, quiet).found) == COUNT


def test_a_small_store_has_no_index(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.prepare()
    store.add(record(1))
    assert len(indexed(store, quiet).found) == 1
    assert not (tmp_path / NAME).exists()
