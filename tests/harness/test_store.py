from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
from making import a_record

from sfbench.api.errors import DataError
from sfbench.store import runs
from sfbench.store.runs import Store, Unreadable

pytestmark = pytest.mark.fast


def test_a_record_makes_its_folders_and_takes_the_next_attempt_where_its_own_is_taken(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path / "far" / "away")
    assert store.is_empty()
    first, second = (store.add(a_record(identity="i" * 30)) for _ in range(2))
    assert [path.name for path in (first, second)] == [
        f"{'i' * 24}-t0-a0.json",
        f"{'i' * 24}-t0-a1.json",
    ]
    assert [record.attempt for record in store.attempts("i" * 30, 0)] == [0, 1]
    assert not list(store.runs.glob("*.part"))
    assert not store.is_empty()
    # A name that begins alike is not the same identity.
    assert store.attempts("i" * 31, 0) == []
    store.prepare()


def test_a_record_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)

    def full(_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(runs, "record_to_json", full)
    with pytest.raises(DataError, match="No space left"):
        store.add(a_record())
    assert list(store.runs.iterdir()) == []


def test_where_no_file_can_be_linked_is_said_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def refused(source: str, _: str) -> None:
        tried.append(Path(source))
        raise PermissionError(1, "no hard links here")

    monkeypatch.setattr(os, "link", refused)
    store = Store(tmp_path / "s")
    with pytest.raises(DataError) as raised:
        store.prepare()
    assert str(raised.value) == (
        f"--store {tmp_path / 's'}: records cannot be stored there ([Errno 1] no hard links here); "
        "choose a writable folder on a file system with hard links"
    )
    # Tried where records will lie, under a name that no reader takes for one.
    assert tried[0].parent == store.runs
    assert tried[0].suffix == ".part"
    assert list(store.runs.iterdir()) == []


def test_a_file_that_is_no_record_is_named_with_the_reason(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(dataclasses.replace(a_record(), started="2026-01-02T00:00:00+00:00"))
    store.add(a_record(identity="earlier"))
    broken = store.runs / "x.json"
    broken.write_text("{")
    records, (unreadable,) = store.load()
    assert records[0].identity == "earlier"
    assert len(records) == 2
    assert isinstance(unreadable, Unreadable)
    assert unreadable.path == broken
    assert unreadable.reason
    assert "\n" not in unreadable.reason
