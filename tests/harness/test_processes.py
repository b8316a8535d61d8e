"""What launchers leave in the environment: understood, or refused in one line."""

from __future__ import annotations

import datetime as dt
import socket

import pytest

from sfbench.api.errors import UsageError
from sfbench.hardware import processes
from sfbench.hardware.processes import ProcessGroup, join, process_group

pytestmark = pytest.mark.fast
WHOLE = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "m", "MASTER_PORT": "29", "LOCAL_RANK": "1"}


def test_an_environment_that_says_nothing_is_one_process() -> None:
    assert process_group({}) == ProcessGroup()
    assert process_group({"RANK": "0", "WORLD_SIZE": "1"}).world == 1


def test_a_launcher_is_understood() -> None:
    torchrun = {"TORCHELASTIC_RUN_ID": "x", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    found = process_group(WHOLE | torchrun | {"TORCHELASTIC_RESTART_COUNT": "3"})
    assert found == ProcessGroup(
        rank=1, world=2, local_rank=1, address="m", port=29, attempt="3", hosted=True, launched=True
    )
    assert not process_group(WHOLE).launched


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"RANK": None},
            "WORLD_SIZE is set in the environment and RANK is not: .* unset WORLD_SIZE",
        ),
        ({"WORLD_SIZE": None}, "RANK is set in the environment and WORLD_SIZE is not"),
        ({"MASTER_PORT": None}, "MASTER_ADDR or MASTER_PORT is not: .* unset RANK and WORLD_SIZE"),
        ({"RANK": "2"}, "RANK=2 and WORLD_SIZE=2: expected a rank below"),
        ({"RANK": "one"}, "RANK='one' in the environment: expected a whole number"),
        ({"MASTER_PORT": "-1"}, "MASTER_PORT='-1' in the environment"),
    ],
)
def test_what_makes_no_sense_is_refused(change: dict[str, str | None], words: str) -> None:
    given = {name: text for name, text in (WHOLE | change).items() if text is not None}
    with pytest.raises(UsageError, match=words) as raised:
        process_group(given)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("rank", [0, 1])
def test_others_that_do_not_come_are_not_waited_for(
    rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "ALONE_SECONDS", 1)
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    group = ProcessGroup(rank=rank, world=2, address="127.0.0.1", port=port)
    with pytest.raises(UsageError, match=r"did not join at 127.* within 1 s; .*unset RANK and"):
        join(group, "gloo", dt.timedelta(seconds=1))
