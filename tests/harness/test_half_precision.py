"""Half precision that a processor only emulates is named before anything is measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfbench.cli import measuring
from sfbench.hardware import host
from sfbench.hardware.devices import find_backend

pytestmark = pytest.mark.fast


def processor(folder: Path, line: str) -> None:
    (folder / "cpuinfo").write_text(f"processor : 0\nmodel name : Some Processor\n{line}\n")


@pytest.mark.parametrize(
    ("line", "bf16", "fp16"),
    [
        ("flags\t\t: fpu avx2 fma", True, True),
        ("flags\t\t: fpu avx512f avx512_bf16", False, True),
        ("flags\t\t: fpu amx_bf16 amx_tile avx512_fp16", False, False),
        ("Features\t: fp asimd asimdhp bf16", False, False),
        ("", False, False),  # a system that does not say
    ],
)
def test_what_a_processor_lacks_is_named(
    line: str, bf16: bool, fp16: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor(tmp_path, line)
    monkeypatch.setattr(host, "PROC", tmp_path)
    backend = find_backend("cpu")
    assert (backend.lacks("bf16") is not None) == bf16
    assert (backend.lacks("fp16") is not None) == fp16
    assert backend.lacks("fp32") is None


def test_the_run_says_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    processor(tmp_path, "flags : avx2")
    monkeypatch.setattr(host, "PROC", tmp_path)
    measuring.announce_precision([("cpu", "fp32"), ("cpu", "bf16"), ("cpu", "bf16")])
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("note: Some Processor has no instructions for bf16 (avx512_bf16, ")
    assert told.endswith("): emulated, it takes longer than fp32")
