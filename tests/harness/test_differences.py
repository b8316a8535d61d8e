"""Differences of two values that share images: narrower than two intervals, and of known coverage."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sfbench.quality import sequential
from sfbench.quality.inception_score import inception_score, score_influences
from sfbench.quality.influence_files import FOLDER, keep_influences, read_influences
from sfbench.quality.influences import Difference, Influences, difference
from sfbench.report.beside import Beside
from sfbench.report.comparison import of_difference
from sfbench.report.verdict_table import notes
from sfbench.report.verdicts import Row
from sfbench.values.records import Reading

Command = Callable[..., subprocess.CompletedProcess[str]]
Array = NDArray[np.float64]


def side(value: float, own: Array, real: Array | None, **names: str) -> Influences:
    """Return a side whose images are of the seeds, and whose real images are the same."""
    told = {"images": "seeds", "reference": "r"} | names
    return Influences(value=value, own=own, real=real, debiased=value, **told)


@pytest.mark.fast
def test_what_both_sides_share_is_counted_once() -> None:
    source = np.random.default_rng(0)
    common, noise, real = source.normal(size=400), source.normal(size=400), source.normal(size=300)
    a = side(4.0, common, real)
    b = side(5.0, common + 0.1 * noise, 1.1 * real)
    paired = difference(a, b)
    assert (paired.change, paired.same_draws, paired.same_reference) == (1.0, True, True)
    expected = (0.1 * noise).var(ddof=1) / 400 + (0.1 * real).var(ddof=1) / 300
    assert paired.error == pytest.approx(np.sqrt(expected))
    alone = difference(a, dataclasses.replace(b, images="others", reference="s"))
    apart = sum(one.var(ddof=1) / 400 for one in (a.own, b.own))
    apart += sum(one.var(ddof=1) / 300 for one in (real, 1.1 * real))
    assert alone.error == pytest.approx(np.sqrt(apart))
    assert not alone.same_draws
    assert paired.error < alone.error / 5
    # Moments of a file count as exact on the side that has no real images.
    exact = difference(a, dataclasses.replace(b, real=None))
    assert exact.error == pytest.approx(
        np.sqrt((0.1 * noise).var(ddof=1) / 400 + real.var(ddof=1) / 300)
    )
    assert not exact.same_reference


@pytest.mark.fast
def test_equal_sides_are_the_same_and_ratios_need_positive_values() -> None:
    own = np.random.default_rng(0).normal(size=50)
    nothing = difference(side(3.0, own, own), side(3.0, own, own))
    assert (nothing.change, nothing.error, nothing.p) == (0, 0, 1)
    row = Row(title="t", metric="fid", result=of_difference(nothing), difference=nothing)
    assert row.verdict == "same"
    near = difference(side(-0.1, own, own), side(-0.1, own, own))
    assert of_difference(near) is None
    assert Row(title="t", metric="fid", difference=near).verdict == "same"
    hardly = Difference(a=1e-9, b=5.0, error=0.2, log_error=2e8, images=50, debiased=True)
    assert of_difference(hardly) is None
    assert Row(title="t", metric="fid", difference=hardly).verdict == "worse-quality"
    far = Difference(a=-0.1, b=5.0, error=0.2, images=50, debiased=True)
    assert Row(title="t", metric="fid", difference=far).verdict == "worse-quality"
    assert Row(title="t", metric="is", difference=far).verdict == "better-quality"
    open_ = dataclasses.replace(far, error=9.0)
    assert Row(title="t", metric="fid", difference=open_).verdict == "inconclusive"


@pytest.mark.fast
def test_a_difference_of_biases_gives_no_verdict() -> None:
    own = np.random.default_rng(0).normal(size=50)
    a, b = side(1.0, own, own), side(9.0, own, own)
    few = dataclasses.replace(b, debiased=None)
    # What one side lacks, the other does not bring: both are taken as they were measured.
    mixed = difference(dataclasses.replace(a, debiased=0.5), few)
    assert (mixed.a, mixed.b, mixed.debiased) == (1.0, 9.0, False)
    row = Row(title="t", metric="fid", result=of_difference(mixed), difference=mixed)
    assert row.verdict == "inconclusive"
    assert "biased: 4 images a feature" in notes([row])[-1]
    more = dataclasses.replace(few, own=own[:40])
    score = difference(dataclasses.replace(a, real=None), dataclasses.replace(more, real=None))
    assert score.unequal
    assert Row(title="t", metric="is", difference=score).verdict == "inconclusive"


@pytest.mark.fast
def test_the_influence_of_a_sample_on_the_score_is_what_its_weight_changes() -> None:
    logits = np.random.default_rng(1).normal(size=(60, 5)).astype(np.float32)
    found = score_influences(logits, inception_score(logits, splits=1).mean)
    more = np.concatenate([logits, *[logits[:1]] * 1]).astype(np.float32)
    change = inception_score(more, splits=1).mean - inception_score(logits, splits=1).mean
    assert change == pytest.approx((found[0] - found.mean()) / 61, rel=0.1)


@pytest.mark.fast
def test_influences_survive_a_file_and_damage_pairs_nothing(tmp_path: Path) -> None:
    own = np.random.default_rng(0).normal(size=50)
    before = side(3.0, own, None)
    name = keep_influences(tmp_path, before)
    assert name is not None
    assert keep_influences(tmp_path, before) == name
    after = read_influences(tmp_path, name)
    assert after is not None
    assert (after.value, after.images, after.real) == (3.0, "seeds", None)
    np.testing.assert_allclose(after.own, own, rtol=1e-6)
    (tmp_path / FOLDER / name).write_bytes(b"PK damaged")
    assert read_influences(tmp_path, name) is None
    for other in (None, 3, "../x.npz", "gone.npz"):
        assert read_influences(tmp_path, other) is None
    (tmp_path / "file").write_text("")
    assert keep_influences(tmp_path / "file", before) is None


def test_records_of_two_options_are_compared_image_by_image(
    sfbench: Command, tmp_path: Path
) -> None:
    for psi in ("1.0", "0.9"):
        run = ["run", "--model", "stylegan2", "--option", "preset=nano"]
        run += ["--option", f"truncation_psi={psi}", "--res", "32", "--measure", "quality"]
        done = sfbench(*run, "--samples", "300", "--store", "S")
        assert done.returncode == 0, done.stderr
    records = sorted((tmp_path / "S" / "runs").glob("*.json"))
    assert len(records) == 2
    assert len(list((tmp_path / "S" / FOLDER).glob("*.npz"))) >= 2
    done = sfbench("compare", *map(str, records), "--json")
    assert done.returncode in {0, 4, 6}, done.stderr
    (row,) = [row for row in json.loads(done.stdout) if row["metric"].startswith("fd[")]
    assert row["difference"]["same_draws"]
    assert row["difference"]["same_reference"]
    values = [
        next(r for r in json.loads(path.read_text())["readings"] if r["metric"] == row["metric"])
        for path in records
    ]
    apart = np.hypot(*[(one["high"] - one["low"]) / 2 for one in values])
    found = row["difference"]
    assert (found["high"] - found["low"]) / 2 < 0.7 * apart
    again = sfbench("compare", str(records[0]), str(records[0]), "--json")
    assert {row["verdict"] for row in json.loads(again.stdout)} == {"same"}


def test_influences_of_another_reading_pair_nothing(tmp_path: Path) -> None:
    source = np.random.default_rng(0)
    found = []
    for value in (5.0, 7.0):
        own = Influences(
            value=value,
            own=source.standard_normal(50),
            real=source.standard_normal(60),
            images="seeds",
            reference="real",
        )
        how = {"influences": keep_influences(tmp_path, own), "generated": 50, "real": 60}
        found.append(Reading(metric="fd[x]", value=value, how=how))
    beside = Beside((tmp_path, tmp_path))
    assert beside.difference(*found) is not None
    swapped = [
        dataclasses.replace(one, how=other.how)
        for one, other in zip(found, reversed(found), strict=True)
    ]
    assert beside.difference(*swapped) is None
    fewer = dataclasses.replace(found[0], how={**found[0].how, "generated": 40})
    assert beside.difference(fewer, found[1]) is None


def test_two_folders_are_compared_on_one_reference(sfbench: Command) -> None:
    asked = ["--reference", "shapes", "--res", "16", "--samples", "300"]
    one = ["quality", "--images", "shapes", "--against", "shapes", *asked]
    done = sfbench(*one, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {row["verdict"] for row in found["differences"]} == {"same"}
    assert found["a"] == found["b"]
    assert not any("influences" in reading["how"] for reading in found["a"])
    table = sfbench(*one)
    assert "paired on the same real images and draws" in " ".join(table.stdout.split())
    model = ["quality", "--model", "synthetic", "--against", "shapes", *asked, "--json"]
    done = sfbench(*model)
    assert done.returncode == 0, done.stderr
    (row, *_) = json.loads(done.stdout)["differences"]
    assert (row["verdict"], row["difference"]["debiased"]) == ("inconclusive", False)
    done = sfbench(*model[:-2], "1040", "--json")
    assert done.returncode == 0, done.stderr
    (row, *_) = json.loads(done.stdout)["differences"]
    assert (row["verdict"], row["difference"]["debiased"]) == ("better-quality", True)
    for wrong in (["--protocol", "adm"], ["--per-class"], ["--neighbors", "n.png"]):
        refused = sfbench(*one, *wrong)
        assert refused.returncode == 2
        assert refused.stderr.startswith("error: " + wrong[0])


def test_images_are_drawn_until_the_sign_is_certain(sfbench: Command) -> None:
    sides = ["stylegan2,preset=nano", "stylegan2,preset=nano,truncation_psi=0.5"]
    asked = ["--sequential", "--res", "32", "--data", "shapes", "--samples", "1200"]
    done = sfbench("compare", *sides, *asked, "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert row["verdict"] == "worse-quality"
    assert row["look"]["images"] == 1024  # four a feature: the first look
    assert row["look"]["low"] > 0
    assert row["difference"]["same_draws"]
    refused = sfbench("compare", *sides, *asked[:3])
    assert refused.returncode == 2
    assert "--sequential compares quality" in refused.stderr
    seeds = sfbench("compare", sides[0], f"{sides[1]},seed=7", *asked)
    assert seeds.returncode == 2
    assert "both sides are judged on the same images; seed differs" in seeds.stderr
    python = sfbench("compare", sides[0], "synthetic,python=/usr/bin/env", *asked)
    assert python.returncode == 2
    assert "omit python=" in python.stderr


@pytest.mark.fast
def test_the_sequential_rule_looks_at_growing_numbers_and_stops() -> None:
    assert list(sequential.counts(16, 700)) == [256, 320, 416, 544, 700]
    assert list(sequential.counts(256, 900)) == [900]
    source = np.random.default_rng(0)
    own, real = source.normal(size=2000), source.normal(size=2000)

    def sides(shift: float) -> Callable[[int], tuple[Influences, Influences]]:
        noise = source.normal(size=2000)
        return lambda count: (
            side(5.0, own[:count], real),
            side(5.0 + shift, own[:count] + noise[:count], real + 0.01),
        )

    far = list(sequential.until_certain(sides(1.0), 16, 2000))
    assert [look.sign for look in far] == ["higher"]
    near = list(sequential.until_certain(sides(-0.12), 16, 2000))
    assert near[-1].sign == "lower"
    assert 256 < near[-1].images < 2000
    assert all(look.sign == "open" for look in near[:-1])
    none = list(sequential.until_certain(sides(0.0), 16, 2000))
    assert (none[-1].images, none[-1].sign) == (2000, "open")


@pytest.mark.fast
def test_the_boundary_errs_in_at_most_a_twentieth_of_all_walks() -> None:
    source = np.random.default_rng(1)
    crossed = 0
    for _ in range(400):
        means = np.cumsum(source.normal(size=4000)) / np.arange(1, 4001)
        looks = range(100, 4001, 20)
        crossed += any(abs(means[n - 1]) > sequential.boundary(n, 1.0, 1000, 0.05) for n in looks)
    assert crossed / 400 <= 0.05
    # Waudby-Smith et al.: 3.03 standard errors where it is narrowest.
    assert sequential.boundary(1000, 1.0, 1000, 0.05) * np.sqrt(1000) == pytest.approx(
        3.035, abs=5e-3
    )
