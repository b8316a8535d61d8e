"""Devices of a machine: which may be used, how they are shown, and what is near them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from sfbench.api.errors import UnsupportedError, UsageError
from sfbench.hardware import places as where
from sfbench.hardware.devices import places
from sfbench.hardware.devices.cuda import CudaBackend
from sfbench.hardware.places import Place, list_of, numbers_of
from sfbench.run.engines import devices
from sfbench.run.engines.devices import DeviceWorkers, shares

GPUS = [
    {"name": "A", "driver": "1", "uuid": f"GPU-{letter}", "pci": f"0000:{letter}:00.0"}
    for letter in "abc"
]


@pytest.fixture
def three_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CudaBackend, "present", classmethod(lambda _: GPUS))


@pytest.mark.fast
@pytest.mark.parametrize(
    ("text", "visible", "found"),
    [
        ("cuda", None, ["GPU-a"]),
        ("cuda:2", None, ["GPU-c"]),
        ("cuda:all", None, ["GPU-a", "GPU-b", "GPU-c"]),
        ("cuda:0,cuda:2", None, ["GPU-a", "GPU-c"]),
        ("cuda:all", "2,0", ["GPU-c", "GPU-a"]),
        ("cuda:1", "2,0", ["GPU-a"]),
        ("cuda:all", "GPU-b", ["GPU-b"]),
        ("cuda:all", "1,7,0", ["GPU-b"]),
        ("cuda", "MIG-x", ["MIG-x"]),
    ],
)
@pytest.mark.usefixtures("three_gpus")
def test_devices_are_counted_among_those_that_may_be_used(
    text: str, visible: str | None, found: list[str]
) -> None:
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    chosen = places(text, environment)
    assert [place.unique for place in chosen] == found
    assert [place.shown for place in chosen] == found


@pytest.mark.fast
@pytest.mark.usefixtures("three_gpus")
def test_devices_that_are_not_there_or_do_not_belong_together_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(UnsupportedError, match="the last is cuda:2"):
        places("cuda:3", {})
    with pytest.raises(UsageError, match="devices of one kind"):
        places("cuda:0,cpu", {})
    with pytest.raises(UsageError, match="expected auto"):
        places("gpu:0", {})
    mixed = [*GPUS[:1], {**GPUS[1], "name": "B"}]
    monkeypatch.setattr(CudaBackend, "present", classmethod(lambda _: mixed))
    with pytest.raises(UsageError, match="several models \\(A, B\\)"):
        places("cuda:all", {})


@pytest.mark.fast
def test_a_gpu_has_processors_and_memory_near_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, "DEVICES", tmp_path)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    folder = tmp_path / "0000:3b:00.0"
    folder.mkdir()
    (folder / "numa_node").write_text("1\n")
    (folder / "local_cpulist").write_text("4-6,7\n")
    assert where.near("00000000:3B:00.0") == ((4, 5, 6, 7), 1)
    (folder / "local_cpulist").write_text("0-7\n")
    assert where.near("0000:3b:00.0") == ((), None)
    (folder / "numa_node").write_text("-1\n")
    assert where.near("0000:3b:00.0") == ((), None)
    assert where.near("0000:99:00.0") == ((), None)
    assert numbers_of("0-3,8") == [0, 1, 2, 3, 8]
    assert list_of([8, 0, 1, 2, 3]) == "0-3,8"


@pytest.mark.fast
def test_devices_near_the_same_processors_divide_them() -> None:
    def place(index: int, *processors: int) -> Place:
        return Place(kind="x", index=index, name="x", unique=f"x{index}", processors=processors)

    near = [place(0, 0, 1, 2, 3), place(1, 0, 1, 2, 3), place(2, 4, 5)]
    found = {place.index: part for place, part in shares(near)}
    assert found == {0: (0, 1), 1: (2, 3), 2: (4, 5)}


@pytest.mark.fast
def test_a_worker_that_is_ended_because_all_is_measured_has_not_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last record can be seen before its worker has ended."""
    lines = {
        "late": "import time; time.sleep(0.5)",
        "failed": "import sys; print('no disk'); sys.exit(2)",
        "stuck": "import time; time.sleep(600)",
    }
    asked = iter(lines.values())
    monkeypatch.setattr(
        devices, "worker_command", lambda *_, **__: [sys.executable, "-c", next(asked)]
    )
    workers = DeviceWorkers(tmp_path)
    found = [Place(kind="cpu", index=number, name="", unique="") for number in range(3)]
    try:
        workers.start(tmp_path / "plan.json", tmp_path, found, trusted=False)
        workers.wait(3.0)
        failures = workers.failures()
    finally:
        workers.end()
    assert failures == ["cpu:1: no disk"]
    assert [worker.returncode for _, worker in workers.started][:2] == [0, 2]
