"""Every figure is drawn from the frame that is its table."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from making import a_record

from sfbench.report import frame
from sfbench.report.figure import HIDDEN, OKABE_ITO, Figure, Look
from sfbench.report.figures import figures
from sfbench.report.measurements import measurements
from sfbench.report.pairing import paired
from sfbench.report.training_figure import curve, training
from sfbench.store.training_runs import TrainingRun
from sfbench.values.records import Reading, Record, record_from_json

pytestmark = pytest.mark.fast
PUBLISHED = Path(__file__).parents[2] / "results" / "published"
HOW = {
    "extractor": {"name": "cifar-cnn7"}, "generated": 128, "real": 128,
    "reference": {"name": "shapes", "sha256": None},
}  # fmt: skip
TITLES = (
    "Quality against speed", "Time of an image over resolution", "Scaling", "Memory by kind",
    "Latency of one image", "Noise", "Training",
)  # fmt: skip


def made(model: str, side: int, speed: float, device: str = "cpu") -> Record:
    name = f"{model}-{side}-{device}"
    peaks = {
        "memory.weights": 1e7, "memory.host_above_loaded": 2e7, "memory.host_peak": 5e8,
        "memory.device_allocated_peak": 4e7, "memory.device_reserved_peak": 6e7,
    }  # fmt: skip
    cpu = [n for n in peaks if ("host" in n) == (device == "cpu") or n == "memory.weights"]
    return a_record(
        identity=name,
        case_key=name,
        case={
            "model": model,
            "resolution": side,
            "device": device,
            "weights": {"kind": "file", "sha256": "ab" * 32},
        },
        machine="m",
        readings=(
            Reading(
                metric="throughput.core",
                unit="images/s",
                value=speed,
                low=0.9 * speed,
                high=1.1 * speed,
                samples=tuple(speed * (0.95 + 0.01 * i) for i in range(10)),
            ),
            Reading(
                metric="latency.p50",
                unit="s",
                value=8 / speed,
                low=7 / speed,
                high=9 / speed,
                samples=tuple((7 + 0.2 * i) / speed for i in range(12)),
            ),
            Reading(
                metric="fd[cifar-cnn7]", unit="", value=300 / speed, low=1.0, high=400.0, how=HOW
            ),
            *(Reading(metric=n, unit="bytes", value=peaks[n]) for n in cpu),
        ),
    )


RECORDS = [
    *(made("fast", side, 4e4 / side**2) for side in (32, 64, 128)),
    *(made("slow", side, 4e7 / side**4) for side in (32, 64, 128)),
]
RUN = TrainingRun(
    name="run",
    asked={"model": "fast", "resolution": 32},
    lines=[
        {"step": 0, "kimg": 0.0, "quality/fd[cifar-cnn7]": 200.0},
        {"step": 1, "kimg": 1.0, "seconds_per_kimg": 60.0, "loss": 1.0},
        {"step": 2, "kimg": 2.0, "seconds_per_kimg": 120.0, "quality/fd[cifar-cnn7]": 50.0},
    ],
)


def of(records: list[Record], runs: list[TrainingRun] | None = None) -> list[Figure]:
    return figures(paired(frame.summary(measurements(records))), records, runs or [])


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {name: None if value is None or value != value else value for name, value in row.items()}  # noqa: PLR0124  # NaN
        for row in table.to_dict(orient="records")
    ]


def drawn(figure: Figure) -> list[list[dict[str, Any]]]:
    return list(figure.chart.to_dict()["datasets"].values())


@pytest.mark.parametrize("figure", of(RECORDS, [RUN]), ids=lambda one: one.title)
def test_what_is_drawn_is_what_the_table_holds(figure: Figure) -> None:
    wanted = rows_of(figure.frame)
    names = set(figure.frame.columns)
    same = [
        [{name: row[name] for name in row if name in names} for row in data]
        for data in drawn(figure)
    ]
    assert wanted in same
    assert "<svg" in figure.svg()


def test_all_figures_are_there() -> None:
    found = [figure.title for figure in of(RECORDS, [RUN])]
    assert [title for title in TITLES if any(one.startswith(title) for one in found)] == list(
        TITLES
    )


def test_the_published_records_make_their_figures() -> None:
    records = [record_from_json(path.read_text()) for path in sorted(PUBLISHED.glob("*.json"))]
    found = of(records)
    scaling = [figure for figure in found if figure.title.startswith("Scaling")]
    assert len(scaling) == 2
    assert all("cost the same at" in figure.text for figure in scaling)
    assert sum(len(figure.frame) for figure in scaling) == len(records)


def test_no_line_and_no_point_joins_two_machines_or_devices() -> None:
    gpu = [made("fast", side, 1e6 / side, "cuda") for side in (32, 64, 128)]
    found = {figure.title: figure for figure in of([*RECORDS, *gpu])}
    paretos = [one for title, one in found.items() if title.startswith("Quality against speed")]
    assert [len(one.frame) for one in paretos] == [2, 2, 2]
    assert sum(title.startswith("Scaling") for title in found) == 2
    kinds = found["Memory by kind"].frame.groupby("label")["kind"].agg(set)
    assert kinds["fast cuda"] == {"weights", "activations", "reserved by allocator"}
    assert kinds["fast cpu"] == {"weights", "above the loaded model"}


def test_what_was_measured_twice_is_one_point_of_its_curve() -> None:
    again = dataclasses.replace(
        made("fast", 64, 5.0), identity="again", case_key="again", started="2026-01-02T00:00:00"
    )
    scaling = next(f for f in of([*RECORDS, again]) if f.title.startswith("Scaling"))
    points = scaling.frame.set_index(["model", "resolution"])["seconds"]
    assert len(points) == len(RECORDS)
    assert points["fast", 64] == pytest.approx(1 / (5.0 * 0.995), rel=1e-3)


def test_rows_that_differ_in_nothing_told_have_names_of_their_own() -> None:
    """Else their bars would be added up, and one line would join them."""
    random = dict(RECORDS[0].case) | {"weights": {"kind": "random", "sha256": None}}
    other = dataclasses.replace(RECORDS[0], identity="r", case_key="r", case=random)
    again = dataclasses.replace(
        RECORDS[0], identity="q", case_key="q", started="2026-01-02T00:00:00"
    )
    for records in ([*RECORDS, other], [*RECORDS, again]):
        memory = next(f for f in of(records) if f.title.startswith("Memory"))
        assert not memory.frame.duplicated(["row", "kind"]).any()
    names = set(
        next(f for f in of([*RECORDS, other]) if f.title.startswith("Latency")).frame["label"]
    )
    assert names == {"fast file abababab", "fast random", "slow"}
    names = set(
        next(f for f in of([*RECORDS, again]) if f.title.startswith("Latency")).frame["label"]
    )
    assert names == {"fast", "fast #2", "slow"}


def test_quality_of_other_weights_takes_no_point_from_a_curve() -> None:
    random = dict(RECORDS[0].case) | {"weights": {"kind": "random", "sha256": None}}
    quality = tuple(one for one in RECORDS[0].readings if one.metric == "fd[cifar-cnn7]")
    other = dataclasses.replace(
        RECORDS[0], identity="r", case_key="r", case=random, readings=quality
    )
    scaling = next(f for f in of([*RECORDS, other]) if f.title.startswith("Scaling"))
    assert len(scaling.frame) == len(RECORDS)


def test_the_distance_of_most_rows_is_drawn_and_bounds_at_nothing_are_not() -> None:
    fid = Reading(metric="aaa", unit="", value=1.0)
    rare = Reading(metric="fid", unit="", value=3.0, low=-1.0, high=7.0, how=HOW)
    records = [
        dataclasses.replace(RECORDS[0], readings=(*RECORDS[0].readings, fid, rare)),
        *RECORDS[1:],
    ]
    found = [f for f in of(records) if f.title.startswith("Quality")]
    assert sum(len(one.frame) for one in found) == len(RECORDS)
    below = tuple(
        dataclasses.replace(one, low=-1.0) if one.metric == "fd[cifar-cnn7]" else one
        for one in RECORDS[0].readings
    )
    records = [dataclasses.replace(RECORDS[0], readings=below), *RECORDS[1:]]
    figure = next(f for f in of(records) if f.title == "Quality against speed at 32 px")
    assert '"type": "log"' not in json.dumps(figure.spec()["layer"][0]["encoding"]["y"])


def test_a_row_is_pale_only_where_another_beats_it_beyond_intervals() -> None:
    def pale(low: float, high: float, rate: float) -> list[bool]:
        changed = []
        for record, value, speed in ((RECORDS[0], 5.0, 100.0), (RECORDS[3], 9.0, rate)):
            bounds = (4.5, 5.5) if record is RECORDS[0] else (low, high)
            readings = (
                Reading(
                    metric="fd[cifar-cnn7]", value=value, low=bounds[0], high=bounds[1], how=HOW
                ),
                Reading(metric="throughput.core", value=speed, low=speed - 1, high=speed + 1),
            )
            changed.append(dataclasses.replace(record, readings=readings))
        figure = next(f for f in of(changed) if f.title.startswith("Quality"))
        return [bool(one) for one in figure.frame["beaten"]]

    assert pale(8.0, 10.0, 50.0) == [False, True]
    assert pale(5.0, 13.0, 99.5) == [False, False]
    assert pale(8.0, 10.0, 200.0) == [False, False]


def test_a_model_has_one_color_and_one_mark_in_every_figure() -> None:
    seen: dict[str, set[tuple[str, str]]] = {}
    for figure in of(RECORDS, [RUN]):
        for scale in scales(figure.spec(), "color", "shape"):
            for model, shown in zip(scale["domain"], scale["range"], strict=True):
                if model in {"fast", "slow"}:
                    seen.setdefault(model, set()).add(shown)
    assert seen == {"fast": {OKABE_ITO[0], "circle"}, "slow": {OKABE_ITO[1], "square"}}
    look = Look(tuple(f"m{number}" for number in range(20)))
    assert len({(look.tint(one), look.mark(one)) for one in look.models}) == 20


def scales(spec: Any, *channels: str) -> Iterator[dict[str, Any]]:
    """Yield every scale with a domain of these channels, wherever it stands."""
    if isinstance(spec, list):
        for part in spec:
            yield from scales(part, *channels)
    elif isinstance(spec, dict):
        for name, part in spec.items():
            if (
                name in channels
                and isinstance(part, dict)
                and "domain" in (part.get("scale") or {})
            ):
                yield part["scale"]
            yield from scales(part, *channels)


@pytest.mark.parametrize("side", [32])
def test_a_single_resolution_is_no_curve(side: int) -> None:
    records = [record for record in RECORDS if record.case["resolution"] == side]
    figure = next(f for f in of(records) if f.title == "Time of an image at 32 px")
    assert figure.frame["ms"].tolist() == sorted(figure.frame["ms"])
    assert "row" in HIDDEN
    assert "row" not in figure.table()


def test_a_curve_counts_the_minutes_of_training_alone() -> None:
    found = curve(RUN)
    assert found["value"].tolist() == [200.0, 50.0]
    assert found["minutes"].tolist() == [0.0, 3.0]
    assert training([], Look(())) is None
    assert (
        training([TrainingRun(name="x", asked={}, lines=[{"step": 0, "loss": 1.0}])], Look(()))
        is None
    )


def test_noise_is_the_spread_within_a_trial() -> None:
    found = next(figure for figure in of(RECORDS) if figure.title.startswith("Noise"))
    samples = [0.95 + 0.01 * i for i in range(10)]
    middle = (samples[4] + samples[5]) / 2
    deviations = [one / middle - 1 for one in samples]
    mean = sum(deviations) / 10
    expected = 100 * math.sqrt(sum((d - mean) ** 2 for d in deviations) / 10)
    assert found.frame["noise"].tolist() == pytest.approx([expected] * len(RECORDS))
