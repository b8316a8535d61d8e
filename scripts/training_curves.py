"""Draw training curves: docs/training.svg, pictures of samples, a table.

    python scripts/training_curves.py RUN [RUN ...] --figure FILE.svg --pictures FILE.png

RUN is the folder of a `sfbench train` with `--metrics`. Times are those of the log: training alone,
without pictures and quality. The table also says how far the time left was off after two ticks.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
from PIL import Image

from sfbench.report.training_figure import curve
from sfbench.store.training_runs import TrainingRun, training_runs

COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7"]
FOLD = 5
SHOWN_ROWS = 3
"""Rows of the sample grid that the picture shows of each snapshot."""


def curve_of(run: TrainingRun) -> pd.DataFrame:
    """Return one row per snapshot: kimg, minutes of training so far, distance."""
    found = curve(run)
    found = found[found["metric"].str.startswith("fd[")]
    return found.rename(columns={"value": "distance"}).assign(model=run.asked["model"])


def estimate_error(lines: Sequence[Mapping[str, Any]]) -> float:
    """Return the relative error of the time left as estimated at the second tick."""
    ticks = [line for line in lines if "seconds_left" in line]
    spent = [
        line["seconds_per_kimg"] * (line["kimg"] - before["kimg"])
        for before, line in itertools.pairwise(ticks)
    ]
    return float(ticks[1]["seconds_left"] / sum(spent[1:]) - 1)


def row(run: TrainingRun, found: pd.DataFrame) -> str:
    """Return a line of the table."""
    start, best = found["distance"].iloc[0], found["distance"].min()
    reached = found[found["distance"] <= start / FOLD]
    first = reached.iloc[0] if len(reached) else None
    when = f"{first['kimg']:.0f} kimg, {first['minutes']:.1f} min" if first is not None else "not"
    end = found.iloc[-1]
    return (
        f"| {run.asked['model']} | {run.asked['resolution']} | {start:.0f} | {end['distance']:.1f} | "
        f"{best:.1f} | {start / best:.1f} | {when} | {end['kimg']:.0f} | {end['minutes']:.1f} | "
        f"{estimate_error(run.lines):+.0%} |"
    )


def chart(data: pd.DataFrame) -> alt.Chart:
    """Return the curves."""
    models = list(dict.fromkeys(data["model"]))
    scale = alt.Scale(domain=models, range=COLORS[: len(models)])
    return (
        alt.Chart(data, width=440, height=240)
        .mark_line(point=True, strokeWidth=1.5)
        .encode(
            x=alt.X("kimg:Q", title="images seen (thousands)"),
            y=alt.Y("distance:Q", title=str(data["metric"].iloc[0]), scale=alt.Scale(type="log")),
            color=alt.Color("model:N", sort=models, scale=scale, title=None),
            shape=alt.Shape("model:N", sort=models, title=None),
        )
    )


def pictures(runs: list[Path], target: Path) -> None:
    """Write the first samples of each run at its start, its middle and its end, side by side."""
    rows = []
    for run in runs:
        files = sorted((run / "pictures").glob("*.png"))
        chosen = [Image.open(files[i]) for i in (0, len(files) // 2, len(files) - 1)]
        height = chosen[0].height * SHOWN_ROWS // 8
        rows.append([image.crop((0, 0, image.width, height)) for image in chosen])
    gap = 8
    width = sum(image.width for image in rows[0]) + 2 * gap
    whole = Image.new("RGB", (width, sum(r[0].height + gap for r in rows) - gap), "white")
    top = 0
    for line in rows:
        left = 0
        for image in line:
            whole.paste(image, (left, top))
            left += image.width + gap
        top += line[0].height + gap
    whole.save(target, optimize=True)


def main() -> int:
    """Write figure and pictures, print the table."""
    parser = argparse.ArgumentParser(description="Curves of training runs.")
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--figure", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, required=True)
    given = parser.parse_args()
    print(
        "| model | px | start | end | best | start / best | fivefold at | kimg | min | ETA off |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    )
    curves = []
    for run in given.runs:
        (log,) = training_runs(run)
        found = curve_of(log)
        curves.append(found)
        print(row(log, found))
    chart(pd.concat(curves)).save(str(given.figure))
    pictures(given.runs, given.pictures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
