"""A claim is held by one process, lives while that works, and is taken over when it does not."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sfbench.api.errors import DataError
from sfbench.hardware import living
from sfbench.store.claims import Claim, Claims, Holder, Owner

pytestmark = pytest.mark.fast
ELSEWHERE: Owner = {"process": ""}
"""Of an owner whose process cannot be looked for."""


def taken(claims: Claims, name: str = "a") -> Claim:
    claim = claims.take(name, "a trial")
    assert claim is not None
    return claim


def grown_old(claims: Claims, name: str = "a", generation: int = 0) -> None:
    os.utime(claims.path(name, generation), (0, 0))


def test_a_claim_is_held_by_one_and_free_after_its_release(tmp_path: Path) -> None:
    mine, theirs = Claims(tmp_path / "claims"), Claims(tmp_path / "claims")
    with taken(mine):
        assert theirs.take("a") is None
        assert theirs.take("b") is not None
    assert list(mine.files()) == [mine.path("b", 0)]
    assert theirs.take("a") is not None


def test_others_see_who_holds_a_claim_since_when_and_what_goes_on(tmp_path: Path) -> None:
    claims = Claims(tmp_path, {"job": "7_1", "device": "GPU-1"})
    claim = taken(claims)
    claim.say("throughput core")
    (holder,) = Claims(tmp_path).holders()
    assert holder.owner["pid"] == os.getpid()
    assert holder.owner["host"] == living.this_host()
    told = {name: holder.owner.get(name) for name in ("job", "device", "what", "phase")}
    assert told == {
        "job": "7_1", "device": "GPU-1", "what": "a trial", "phase": "throughput core",
    }  # fmt: skip
    assert 0 <= holder.idle_seconds <= holder.seconds < 10
    assert not holder.expired
    claim.say("x")  # a shorter text leaves nothing of the longer one
    assert Claims(tmp_path).holders()[0].owner.get("phase") == "x"


def test_a_claim_that_nobody_touches_is_taken_over_once(tmp_path: Path) -> None:
    lost = taken(Claims(tmp_path, ELSEWHERE))
    others = [Claims(tmp_path) for _ in range(3)]
    assert all(one.take("a") is None for one in others)
    grown_old(others[0])
    found = [claim for claim in (one.take("a") for one in others) if claim is not None]
    assert len(found) == 1
    lost.release()  # what holds is the later one
    assert list(tmp_path.iterdir()) == [others[0].path("a", 1)]
    assert others[1].take("a") is None
    found[0].release()
    assert list(tmp_path.iterdir()) == []


def test_a_claim_of_a_process_that_ended_is_free_at_once(tmp_path: Path) -> None:
    program = "import sys; from pathlib import Path; from sfbench.store.claims import Claims as C\n"
    program += "C(Path(sys.argv[1])).take('a'); import os; os._exit(9)"
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    claims = Claims(tmp_path)
    (holder,) = claims.holders()
    assert holder.expired
    assert holder.idle_seconds < 60
    taken(claims).release()
    assert list(tmp_path.iterdir()) == []


def test_a_number_that_another_process_got_is_not_the_process() -> None:
    mine = living.this_process()
    where, _, began = mine.rpartition(" ")
    assert not living.is_gone(mine)
    assert living.is_gone(f"{where} {int(began) - 1}")
    assert not living.is_gone(f"another boot {os.getpid()} 1")
    assert not living.is_gone("")


def test_a_claim_lives_while_its_owner_works(tmp_path: Path) -> None:
    mine = Claims(tmp_path, ELSEWHERE, lease_seconds=0.4)
    theirs = Claims(tmp_path, lease_seconds=0.4)
    with taken(mine) as claim:
        deadline = time.monotonic() + 1.2
        while time.monotonic() < deadline:
            assert theirs.take("a") is None
            time.sleep(0.05)
        assert [one.name for one in theirs.holders()] == [claim.name]
    taken(mine)  # taken, and nobody to touch it
    time.sleep(0.6)
    assert theirs.take("a") is not None


def test_of_many_at_once_one_takes_a_claim_new_or_expired(tmp_path: Path) -> None:
    rivals = [Claims(tmp_path, ELSEWHERE) for _ in range(8)]
    for turn in range(30):
        name = f"n{turn}"
        if turn % 2:
            taken(rivals[0], name)
            grown_old(rivals[0], name)
        together = threading.Barrier(len(rivals))
        found: list[Claim | None] = []

        def rush(
            one: Claims,
            name: str = name,
            together: threading.Barrier = together,
            found: list[Claim | None] = found,
        ) -> None:
            together.wait()
            found.append(one.take(name))

        threads = [threading.Thread(target=rush, args=(one,)) for one in rivals]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(claim is not None for claim in found) == 1


def test_who_sees_an_old_claim_and_finds_a_new_one_backs_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at an expired claim and the next generation, it was given back and retaken."""
    old = taken(Claims(tmp_path, ELSEWHERE))
    grown_old(old.claims)
    slow, quick = Claims(tmp_path), Claims(tmp_path)
    real, calls = slow.seen, []

    def seen(path: Path, clock: Callable[[], int]) -> Holder | None:
        calls.append(path)
        found = real(path, clock)
        if len(calls) == 1:  # the slow one has seen the old claim
            old.release()
            assert quick.take("a") is not None
        return found

    monkeypatch.setattr(slow, "seen", seen)
    assert slow.take("a") is None
    assert list(tmp_path.iterdir()) == [quick.path("a", 0)]


def test_a_rival_that_is_about_to_back_off_does_not_keep_a_claim_from_its_release(
    tmp_path: Path,
) -> None:
    mine = taken(Claims(tmp_path))
    rival = mine.claims.path("a", 1)
    rival.write_text("{}")
    mine.release()
    assert list(tmp_path.iterdir()) == [rival]


def test_a_claim_whose_release_was_cut_short_can_be_taken(tmp_path: Path) -> None:
    first = taken(Claims(tmp_path, ELSEWHERE))
    grown_old(first.claims)
    second = taken(Claims(tmp_path, ELSEWHERE))
    second.claims.path("a", 0).unlink()  # killed between the files that it removes
    others = Claims(tmp_path)
    assert others.take("a") is None
    grown_old(others, generation=1)
    taken(others).release()
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_proc_hides_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    where, _, began = living.this_process().rpartition(" ")
    monkeypatch.setattr(living, "told_of", lambda _: None)
    assert not living.is_gone(f"{where} {began}")


def test_a_file_that_another_machine_removed_is_no_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = Claims(tmp_path)
    held = taken(claims)

    def stale(_: int) -> os.stat_result:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(os, "fstat", stale)
    assert claims.holders() == []
    monkeypatch.undo()
    held.release()


def test_claims_of_others_that_cannot_be_read_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = Claims(tmp_path)
    held = taken(claims)
    real = Path.open

    def refused(path: Path, *given: Any, **named: Any) -> Any:
        if path == claims.path("a", 0):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, *given, **named)

    monkeypatch.setattr(Path, "open", refused)
    assert claims.holders() == []
    with pytest.raises(DataError, match="umask 002"):
        claims.take("a")
    monkeypatch.undo()
    held.release()


def test_what_is_no_claim_is_passed_over_and_a_damaged_one_expires(tmp_path: Path) -> None:
    claims = Claims(tmp_path)
    (tmp_path / "note.txt").write_text("x")
    claims.path("a", 0).write_bytes(b'{"pid": "no number"')
    (holder,) = claims.holders()
    assert (holder.owner, holder.expired) == ({}, False)
    grown_old(claims)
    assert claims.take("a") is not None


def test_expired_claims_of_what_is_done_are_swept(tmp_path: Path) -> None:
    claims = Claims(tmp_path, ELSEWHERE)
    for name in ("done", "other", "fresh"):
        taken(claims, name)
    for name in ("done", "other"):
        grown_old(claims, name)
    claims.sweep({"done", "fresh"})
    assert sorted(path.name for path in claims.files()) == ["fresh.0", "other.0"]
