"""Certificates: paired intervals that cover the truth, the verdict, and the whole command."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from graph_making import exported_file, onnx_file

from sfbench.api.errors import DataError
from sfbench.cli.certifying import Certificate, document, sentence, verdict
from sfbench.quality.certificate import image_difference
from sfbench.quality.frechet import frechet_distance
from sfbench.quality.influences import Difference
from sfbench.quality.paired import paired_change
from sfbench.quality.statistics import moments_of
from sfbench.quality.uncertainty import frechet_error
from sfbench.report.comparison import Comparison
from sfbench.report.verdicts import Row

Command = Callable[..., subprocess.CompletedProcess[str]]
DIMENSIONS, COUNT = 6, 600


def worlds(source: np.random.Generator, shift: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return candidate, baseline and real features; the candidate is the baseline, moved a little."""
    real = source.standard_normal((COUNT, DIMENSIONS))
    baseline = source.standard_normal((COUNT, DIMENSIONS)) * 1.2 + 0.3
    noise = source.standard_normal((COUNT, DIMENSIONS)) * 0.05
    found = (baseline + shift + noise, baseline, real)
    return tuple(one.astype(np.float32) for one in found)  # type: ignore[return-value]


def truth(shift: float) -> float:
    """Return the change between the Gaussians themselves: means 0.3 (+ shift), spreads 1.2."""
    spread = np.sqrt(1.2**2 + 0.05**2)
    before = DIMENSIONS * (0.3**2 + (1.2 - 1) ** 2)
    return float(DIMENSIONS * ((0.3 + shift) ** 2 + (spread - 1) ** 2) - before)


@pytest.mark.fast
@pytest.mark.parametrize("shift", [0.0, 0.05])
def test_the_interval_of_a_change_covers_the_truth_about_95_times_in_100(shift: float) -> None:
    source = np.random.default_rng(7)
    found = [paired_change(*worlds(source, shift)) for _ in range(300)]
    inside = np.mean([one.low <= truth(shift) <= one.high for one in found])
    assert 0.91 <= inside <= 0.985
    spread = np.std([one.change for one in found])
    assert np.mean([one.error for one in found]) == pytest.approx(spread, rel=0.15)


@pytest.mark.fast
def test_pairs_are_far_narrower_than_two_intervals_side_by_side() -> None:
    candidate, baseline, real = worlds(np.random.default_rng(1), 0.02)
    found = paired_change(candidate, baseline, real)
    reference = moments_of(real)
    sides = [(rows, moments_of(rows)) for rows in (candidate, baseline)]
    alone = [frechet_error(rows, moments, real, reference) for rows, moments in sides]
    assert found.error < 0.2 * np.hypot(*[one or np.nan for one in alone])
    plain = [frechet_distance(moments, reference) for _, moments in sides]
    assert found.debiased
    assert found.change == pytest.approx(plain[0] - plain[1], abs=0.2 * found.error)
    few = paired_change(candidate[:20], baseline[:20], real)
    assert not few.debiased


@pytest.mark.fast
def test_equal_sides_have_no_change_and_no_error() -> None:
    _, baseline, real = worlds(np.random.default_rng(1), 0.0)
    found = paired_change(baseline, baseline, real)
    assert (found.change, found.error, found.smallest) == (0, 0, 0)
    with pytest.raises(DataError, match="expected pairs"):
        paired_change(baseline[:-1], baseline, real)


@pytest.mark.fast
def test_images_differ_by_what_they_differ() -> None:
    first = torch.zeros(2, 3, 4, 4)
    second = first.clone()
    assert image_difference(first, second).identical
    assert image_difference(first, second).psnr is None
    second[0, 0, 0, 0] = 1.0
    found = image_difference(second, first + 1e-9)
    assert not found.identical
    assert found.levels == 127
    assert found.psnr == pytest.approx(10 * np.log10(255**2 / (127**2 / 96)))


@pytest.mark.fast
@pytest.mark.parametrize(
    ("change", "error", "expected"),
    [
        (0.0, 0.1, "harmless"),
        (0.9, 0.01, "harmless"),
        (5.0, 0.1, "harmful"),
        (1.0, 0.2, "inconclusive"),
        (0.0, 2.0, "inconclusive"),
        (-3.0, 2.0, "harmless"),
        (-9.0, 2.0, "better"),
    ],
)
def test_the_verdict_rests_on_the_interval(change: float, error: float, expected: str) -> None:
    found = Difference(b=100 + change, a=100.0, error=error, images=10)
    different = image_difference(torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2))
    assert verdict(different, found, limit=1.0) == expected
    same = image_difference(torch.ones(1, 3, 2, 2), torch.ones(1, 3, 2, 2))
    equal = Difference(b=100.0, a=100.0, error=0.0, images=10)
    assert verdict(same, equal, limit=1.0) == "identical"


def certificate(sfbench: Command, of: str, against: str, *more: str) -> dict[str, object]:
    done = sfbench(
        "certify", "--of", of, "--against", against, "--res", "16", "--samples", "64",
        "--batch", "4", "--json", *more,
    )  # fmt: skip
    assert done.returncode in {0, 4, 6}, done.stderr
    found: dict[str, object] = json.loads(done.stdout) | {"code": done.returncode}
    return found


def test_equal_programs_are_identical_and_others_are_not(sfbench: Command, tmp_path: Path) -> None:
    exported_file(tmp_path / "a.pt2")
    exported_file(tmp_path / "b.pt2")
    onnx_file(tmp_path / "c.onnx")
    same = certificate(sfbench, "exported:b.pt2", "exported:a.pt2", "--quads", "0")
    assert (same["verdict"], same["code"], same["performance"]) == ("identical", 0, [])
    other = certificate(sfbench, "onnx:c.onnx", "exported:a.pt2", "--quads", "0", "--harm", "500")
    assert (other["verdict"], other["code"]) == ("harmless", 0)
    assert other["images"]["identical"] is False  # type: ignore[index]
    told = sfbench(
        "certify", "--of", "onnx:c.onnx", "--against", "exported:a.pt2", "--res", "16",
        "--samples", "64", "--quads", "0", "--harm", "500",
    )  # fmt: skip
    first, quality, images = told.stdout.splitlines()
    assert first.startswith(
        "onnx:c.onnx in place of exported:a.pt2: harmless: fd[cifar-cnn7] rises"
    )
    assert "would have been seen" in first
    assert "64 pairs of the same seed" in quality
    assert "PSNR" in images


def test_functions_that_break_the_contract_or_raise_are_not_certified(
    sfbench: Command, tmp_path: Path
) -> None:
    (tmp_path / "fns.py").write_text(
        "import torch\n"
        "def base(seeds):\n"
        "    draw = lambda s: torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(s))\n"
        "    return torch.stack([draw(s) for s in seeds]) * 2 - 1\n"
        "def together(seeds):\n"
        "    x = base(seeds)\n"
        "    return x - x.mean(0, keepdim=True) * 0.5\n"
        "def broken(seeds):\n"
        "    raise RuntimeError('line one\\nline two')\n"
        "def gone(seeds):\n"
        "    raise SystemExit(3)\n"
    )
    for name, words in (
        ("together", "alone differs from its row of a batch"),
        ("broken", "RuntimeError: line one"),
        ("gone", "SystemExit"),
    ):
        done = sfbench(
            "certify", "--of", f"module:fns:{name}", "--against", "module:fns:base", "--res", "16",
            "--samples", "16", "--quads", "0",
        )  # fmt: skip
        assert done.returncode == 2, done.stdout
        assert words in done.stderr
        assert "Traceback" not in done.stderr


def ratio(metric: str, middle: float, half: float, noise: float = 0.001) -> Row:
    """Return a row of a comparison with this ratio and half the width of its interval."""
    result = Comparison(
        ratio=middle, low=middle - half, high=middle + half, p=0.001, noise=noise, units=8
    )
    return Row(title="32px", metric=metric, result=result, interleaved=True)


@pytest.mark.fast
def test_the_first_line_says_what_is_known_of_speed_and_memory() -> None:
    peak = "memory.host_above_loaded"
    found = Certificate(
        candidate="onnx:g.onnx",
        baseline="m",
        metric="fd[cnn]",
        verdict="harmless",
        limit=1.0,
        images=image_difference(torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 1e-3)),
        quality=Difference(b=100.1, a=100.0, error=0.1, images=64),
        rows=[ratio("throughput.core", 1.5, 0.05), ratio(peak, 0.7, 0.01)],
    )
    first, *rest = sentence(found).splitlines()
    assert first == (
        "onnx:g.onnx in place of m: harmless: fd[cnn] rises by less than 1 % (a rise of 0.28 would "
        "have been seen); 1.5 times as fast, 0.7 times the memory."
    )
    assert rest[2] == "speed    1.5 [1.45, 1.55]: faster (throughput.core)"
    assert rest[3] == f"memory   0.7 [0.69, 0.71]: less-memory ({peak})"
    told = document(found)
    assert [row["metric"] for row in told["performance"]] == ["throughput.core", peak]
    assert told["quality"]["smallest_change_seen"] == pytest.approx(0.28, abs=0.01)
    # A ratio that cannot be told is not called one.
    wide = dataclasses.replace(found, rows=[ratio("throughput.core", 6.9, 4.6, noise=0.5)])
    assert "open: 2.3 to 11.5 times as fast" in sentence(wide).splitlines()[0]
    lost = Row(title="32px", metric="throughput.core", failure="it crashed")
    failed = sentence(dataclasses.replace(found, rows=[lost]))
    assert "speed    not measured: it crashed" in failed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--of", "nosuch", "--against", "styleformer"), "model nosuch: not found"),
        (("--of", "styleformer,python=/x", "--against", "styleformer"), "no such file"),
        (("--of", "styleformer", "--against", "styleformer", "--harm", "0"), "--harm 0"),
        (("--of", "styleformer", "--against", "styleformer", "--res", "32,64"), "found 2 cases"),
        (
            ("--of", "styleformer", "--against", "styleformer", "--quads", "2"),
            "1 case needs 6 or more",
        ),
    ],
)
def test_what_cannot_be_certified_is_one_line(
    arguments: tuple[str, ...], words: str, sfbench: Command
) -> None:
    done = sfbench("certify", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
