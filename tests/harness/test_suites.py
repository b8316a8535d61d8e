"""Suites: read, planned, completed with what they need, shown beside what was published."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sfbench.api.errors import UsageError
from sfbench.report.reproduction import Wanted, frame
from sfbench.run.suites import completed, named, read_suite, requests_of, shipped_suites
from sfbench.values.records import Reading, Record

Command = Callable[..., subprocess.CompletedProcess[str]]
SMALL = """
title = "small"
[scale.smoke]
samples = 16
[[run]]
row = "with images"
model = "styleformer"
res = 8
dataset = "cifar10"
checkpoint = "card"
published = { fid = 2.82 }
measure = "quality"
[[run]]
row = "drawn"
model = "styleformer"
res = 8
measure = "quality"
published = { fid = 9.0 }
"""


def suite_file(folder: Path, text: str = SMALL) -> str:
    (folder / "suite.toml").write_text(text, encoding="utf-8")
    return str(folder / "suite.toml")


@pytest.mark.fast
@pytest.mark.parametrize("name", shipped_suites())
@pytest.mark.parametrize("scale", ["smoke", "quick", "full"])
def test_shipped_suites_can_be_read_at_every_scale(name: str, scale: str) -> None:
    suite = read_suite(name, scale)
    assert suite.rows
    assert suite.scale == scale
    assert len({row.title for row in suite.rows}) == len(suite.rows)


@pytest.mark.fast
def test_the_paper_suite_holds_what_the_cards_print(sfbench: Command) -> None:
    cards = {c["name"]: c for c in json.loads(sfbench("list", "weights", "--json").stdout)}
    for row in read_suite("styleformer-paper").rows:
        card = cards[str(row.checkpoint)]
        assert row.published == card["published"]
        assert row.request.model == card["model"]
        assert row.request.res == str(card["resolution"])


@pytest.mark.fast
def test_rows_are_completed_by_what_is_given(tmp_path: Path) -> None:
    suite = read_suite(suite_file(tmp_path), "smoke")
    (first, lacks), (_, nothing) = completed(suite, {}, {})
    assert lacks == ["images: --data cifar10=PATH", "weights: --weights card=FILE"]
    assert first.request.samples == 16
    assert nothing == []
    rows = completed(
        suite,
        named("cifar10=a.zip", "--data", ["cifar10"]),
        named("card=b.pkl", "--weights", ["card"]),
    )
    assert [r.data for r in requests_of(rows)] == ["a.zip", "shapes"]
    assert requests_of(rows)[0].weights == "b.pkl"
    with pytest.raises(UsageError, match="suite suite has cifar10"):
        completed(suite, {"stl10": "x"}, {})
    with pytest.raises(UsageError, match="expected NAME=PATH"):
        named("a.zip", "--data", ["cifar10"])


@pytest.mark.fast
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title = 3\n", "no .*run"),
        ('[[run]]\nmodel = "x"\nsize = 3\n', "unknown key size"),
        ('[[run]]\nmodel = "x"\npublished = 3\n', "expected metric names"),
        ('[scale.huge]\n[[run]]\nmodel = "x"\n', "expected tables under scale named"),
        ('[[run]]\nmodel = "x"\ntrain_kimg = "1"\n', "expected a number"),
    ],
)
def test_what_is_wrong_in_a_suite_is_named(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        read_suite(suite_file(tmp_path, text))


@pytest.mark.fast
def test_unknown_suites_and_scales_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match="not one of attention, demo, gpu, smoke, styleformer-ablation"
    ):
        read_suite("nowhere")
    with pytest.raises(UsageError, match="expected smoke, quick, full"):
        read_suite("smoke", "tiny")
    with pytest.raises(UsageError, match="has full, smoke"):
        read_suite(suite_file(tmp_path), "quick")


def record(metric: str, value: float | None, samples: int, **more: Any) -> Record:
    case = {"model": "styleformer", "resolution": 32, "samples": samples}
    reading = Reading(metric=metric, unit="", value=value, **more)
    return Record(
        identity="i", case_key="k", case=case, trial=0, attempt=0, status="ok", readings=(reading,)
    )


@pytest.mark.fast
@pytest.mark.parametrize(
    ("measured", "verdict", "reason"),
    [
        (record("fid", 2.9, 50_000, low=2.7, high=3.1), "agrees", ""),
        (record("fid", 3.9, 50_000, low=3.7, high=4.1), "higher", ""),
        (record("fid", 1.9, 50_000, low=1.7, high=2.1), "lower", ""),
        (record("fid", 2.9, 500, low=2.7, high=3.1), "no verdict", "500 images"),
        (record("fd[cifar-cnn7]", 2.9, 50_000), "not run", "2.90, a different metric"),
        (record("fid", None, 50_000, reason="too few"), "not run", "no fid: too few"),
    ],
)
def test_a_verdict_is_given_on_equal_terms_alone(
    measured: Record, verdict: str, reason: str
) -> None:
    row = Wanted(title="CIFAR-10", published={"fid": 2.82}, lacks=[], records=[measured])
    (line,) = frame([row]).to_dict("records")
    assert line["verdict"] == verdict
    assert reason in line["reason"]


def test_a_suite_is_planned_measured_and_shown_beside_what_was_published(
    sfbench: Command, tmp_path: Path
) -> None:
    suite = suite_file(tmp_path)
    before = json.loads(sfbench("plan", "--suite", suite, "--scale", "smoke", "--json").stdout)
    assert [line["state"] for line in before["rows"]] == ["needs", "missing"]
    done = sfbench("reproduce", suite, "--scale", "smoke")
    assert done.returncode == 1, done.stderr
    assert "needs images: --data" in " ".join(done.stdout.split())
    assert "a different metric" in " ".join(done.stdout.split())
    assert "(scale smoke)" in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    after = json.loads(sfbench("plan", "--suite", suite, "--scale", "smoke", "--json").stdout)
    assert [line["state"] for line in after["rows"]] == ["needs", "measured"]
    run = sfbench("run", "--suite", suite, "--scale", "smoke")
    assert "not run: with images: needs images" in run.stderr
    assert "at scale smoke" in run.stderr


def test_the_time_of_training_is_told_by_the_pace_of_earlier_runs(
    sfbench: Command, tmp_path: Path
) -> None:
    (tmp_path / "suite.toml").write_text(
        '[[run]]\nmodel = "stylegan2"\nres = 32\noption = { preset = "nano" }\n'
        'weights = "random"\nmeasure = "quality"\ntrain_kimg = 2.0\n'
    )
    ask = ("plan", "--suite", "suite.toml", "--json")
    assert json.loads(sfbench(*ask).stdout)["rows"][0]["seconds"] is None
    run = tmp_path / "results" / "training" / "earlier"
    run.mkdir(parents=True)
    asked = {"identity": "x", "asked": {"model": "stylegan2", "resolution": 32}}
    (run / "run.json").write_text(json.dumps(asked))
    (run / "log.jsonl").write_text('{"step": 1, "kimg": 1.0, "seconds_per_kimg": 100.0}\n')
    published = Path(__file__).parents[2] / "results" / "published"
    record = next(
        path for path in published.glob("*.json")
        if (case := json.loads(path.read_text())["case"])["model"] == "stylegan2"
        and case["resolution"] == 32
    )  # fmt: skip
    (tmp_path / "results" / "runs").mkdir()
    shutil.copy(record, tmp_path / "results" / "runs")
    seconds = json.loads(record.read_text())["seconds"]
    told = json.loads(sfbench(*ask).stdout)["rows"][0]
    assert told["seconds"] == pytest.approx(200 + seconds)
    assert told["state"] == "train 2 kimg"


@pytest.mark.fast
def test_a_row_that_measured_neither_speed_nor_distance_is_shown_as_measured() -> None:
    memory = record("memory.host_peak", 1.0, 0)
    found = frame([Wanted(title="x", published={}, lacks=[], records=[memory])])
    assert found["verdict"].tolist() == ["measured"]
    assert "neither speed nor a distance" in found["reason"].iloc[0]
    assert frame([]).empty
    assert "published" in frame([]).columns


@pytest.mark.fast
def test_only_quality_is_judged_by_how_many_images_there_were() -> None:
    speed = record("throughput.core", 10.0, 0, low=9.0, high=11.0)
    published = {"throughput.core": 10.5, "parameters": 3.0}
    found = frame([Wanted(title="x", published=published, lacks=[], records=[speed])])
    assert found["verdict"].tolist() == ["agrees", "not run"]
    assert found["reason"].iloc[1] == "no parameters was measured"
