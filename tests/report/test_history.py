"""Steps in histories: found where they are, not where there is noise alone."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from making import a_record

from sfbench.report.history import drawn, histories, told
from sfbench.report.matrix import page_name
from sfbench.report.page import Beside
from sfbench.report.site import About, site
from sfbench.report.steps import steps
from sfbench.values.records import Reading, Record

pytestmark = pytest.mark.fast


def noisy(level: float, count: int, noise: float, seed: int) -> list[float]:
    draws = np.random.default_rng(seed).normal(0, noise, count)
    return [float(level * np.exp(one)) for one in draws]


def test_a_step_is_found_where_it_is() -> None:
    found = steps([*noisy(100, 10, 0.01, 0), *noisy(90, 10, 0.01, 1)])
    assert [step.at for step in found] == [10]
    assert found[0].ratio == pytest.approx(0.9, rel=0.02)
    assert found[0].p < 0.05


def test_two_steps_are_found_in_order() -> None:
    levels = [*noisy(100, 12, 0.01, 0), *noisy(120, 12, 0.01, 1), *noisy(80, 12, 0.01, 2)]
    assert [step.at for step in steps(levels)] == [12, 24]


def test_noise_alone_is_rarely_a_step() -> None:
    """The test's level is 5 %; a change below the margin is never told."""
    alarms = sum(bool(steps(noisy(100, 16, 0.05, seed))) for seed in range(60))
    assert alarms <= 8
    assert not any(steps(noisy(100, 16, 0.005, seed)) for seed in range(20))


def test_one_outlier_is_no_step_and_few_values_tell_nothing() -> None:
    values = noisy(100, 16, 0.01, 3)
    values[8] *= 0.5
    assert steps(values) == []
    assert steps([100.0] * 3 + [50.0] * 4) == []


def record(number: int, speed: float, model: str = "a") -> Record:
    reading = Reading(
        metric="throughput.core", unit="images/s", value=speed, low=speed - 1, high=speed + 1
    )
    return a_record(
        [reading],
        identity=f"{model}-code{number // 8}",
        case_key=model,
        case={"model": model},
        trial=number % 8,
        machine="m",
        started=f"2026-01-01T00:00:{number:02d}",
        provenance={"commit": f"c{number // 8}"},
    )


SPEEDS = [*noisy(100, 8, 0.005, 0), *noisy(80, 8, 0.005, 1)]
RECORDS = [record(number, speed) for number, speed in enumerate(SPEEDS)]


def test_a_history_spans_the_commits_and_names_the_one_of_a_step() -> None:
    (series,) = histories(RECORDS)
    assert series.frame["code"].tolist() == ["c0"] * 8 + ["c1"] * 8
    assert [step.at for step in series.steps] == [8]
    assert "from measurement 9 on (c1" in told(series)
    assert "-19.9 %" in told(series)
    figure = drawn(series)
    assert figure.frame["level"].nunique() == 2


def test_what_was_measured_once_or_elsewhere_has_no_history() -> None:
    elsewhere = dataclasses.replace(RECORDS[1], machine="other")
    failed = dataclasses.replace(RECORDS[2], status="killed", reason="x")
    assert list(histories([RECORDS[0], elsewhere, failed])) == []


def test_the_site_has_a_page_a_model_and_every_link_leads_somewhere() -> None:
    records = [*RECORDS, record(0, 50.0, "../b <x>")]
    about = {"a": About(summary="what <b>it</b> is", facts={"license": "Apache-2.0"})}
    files = dict(site(records, Beside(options={}), about, "Board"))
    assert set(files) == {
        "index.html", "report.html", "records.csv", "models/a.html", f"models/{page_name('../b <x>')}",
    }  # fmt: skip
    links = re.findall(r'href="([^"#]+)"', files["index.html"])
    assert set(links) <= set(files)
    assert len(links) >= 4
    assert "what &lt;b&gt;it&lt;/b&gt; is" in files["models/a.html"]
    assert "Steps: -19.9 %" in files["models/a.html"]
    assert "there is no history yet" in files[f"models/{page_name('../b <x>')}"]
    assert files["records.csv"].count("\n") == 1 + len(records)
    assert "8 older records" in files["index.html"]


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "", "<script>", "ü"])
def test_a_model_cannot_choose_where_its_page_lies(name: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*\.html", page_name(name))


def test_two_models_never_share_a_page() -> None:
    assert len({page_name(name) for name in ("a/b", "a-b", "a b", "a?b")}) == 4


def test_the_command_writes_the_site(tmp_path: Path) -> None:
    from sfbench.cli.publishing import publish
    from sfbench.store.runs import OWN, Store

    store = Store(tmp_path / "s")
    for one in RECORDS:
        store.add(one)
    assert publish(tmp_path / "s", tmp_path / "out", "Board", OWN) == 0
    assert (tmp_path / "out" / "models" / "a.html").is_file()
    assert publish(tmp_path / "none", tmp_path / "out2", "Board", OWN) == 5
