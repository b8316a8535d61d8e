"""The table of a comparison, and the notes below it."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sfbench.quality.influences import Difference
from sfbench.quality.sequential import Look
from sfbench.report.beside import Retraining
from sfbench.report.numbers import number
from sfbench.report.verdicts import SPEED, Row
from sfbench.values.messages import counted


def table(rows: Sequence[Row], a: str, b: str) -> RenderableType:
    """Return the rows for a terminal of 80 columns."""
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    found.add_column("case and metric", overflow="fold")
    for name in ("B / A", "95 % interval", "p", "margin"):
        found.add_column(name, justify="right", no_wrap=True)
    found.add_column("B is", no_wrap=True)
    for row in rows:
        result = row.result
        cells = ["-"] * 4
        if result is not None:
            cells = [
                f"{result.ratio:.3f}",
                f"{result.low:.3f} .. {result.high:.3f}",
                f"{result.p:.3f}",
                f"{100 * result.margin:.1f} %",
            ]
        found.add_row(Text(f"{row.title}\n  {row.metric}"), *cells, row.verdict)
    return Group(Text(f"A = {a}\nB = {b}", style="bold"), found, *map(Text, notes(rows)))


def paired(row: Row, found: Difference) -> str:
    """Return a difference in the metric's own unit, and what of both sides is paired."""
    shared = {"real images": found.same_reference, "draws": found.same_draws}
    words = " and ".join(name for name, same in shared.items() if same)
    told = f"paired on the same {words}" if words else "nothing of the two sides is shared"
    kind = (
        "; biased: 4 images a feature of both sides are needed for a verdict" if row.biased else ""
    )
    return (
        f"{row.metric}: {found.a:.4g} -> {found.b:.4g}, {found.change:+.3g} [{found.low:+.3g}, "
        f"{found.high:+.3g}], {counted(found.images, 'image')}, {told}{kind}"
    )


def retraining(metric: str, found: Retraining) -> str:
    """Return whether a difference would outlast training both models again, if that is known."""
    if found.low is None or found.high is None:
        return f"{metric}: how much training again moves it is not known: sfbench lottery"
    certain = not found.low <= 0 <= found.high
    word = "would last" if certain else "might turn"
    return (
        f"{metric}: with both models trained again the difference {word}: [{found.low:+.3g}, "
        f"{found.high:+.3g}] (sfbench lottery)"
    )


def sequential(metric: str, look: Look) -> str:
    """Return how many images settled the sign of a difference, or that all of them did not."""
    images = f"{counted(look.images, 'image')} of each"
    bounds = f"confidence sequence [{look.low:+.3g}, {look.high:+.3g}]"
    if look.sign == "same":
        return f"{metric}: {images}: the images of both sides are equal"
    if look.sign == "open":
        return f"{metric}: {images} do not settle which is lower; {bounds}"
    return f"{metric}: {images} suffice: B is {look.sign}, whenever one looks; {bounds}"


def told_values(row: Row) -> str:
    """Return the last values of both sides."""
    first, second = (number(side[-1]) for side in row.values)
    return f"{first} -> {second}"


def notes(rows: Sequence[Row]) -> list[str]:
    """Return notes on the numbers."""
    lines = [*dict.fromkeys(said for row in rows if (said := row.failure or row.reason))]
    for row in rows:
        if row.second is not None:
            word = "recurred" if row.recurred else "did not recur"
            lines.append(
                f"! {row.title} {row.metric}: {word} when measured again ({row.second.ratio:.3f})"
            )
    lines += [
        f"! {row.title} {row.metric}: the margin, {100 * row.result.margin:.0f} %, is over "
        f"{100 * row.result.limit:g} %: too noisy for a verdict; try a quiet machine, more --quads, or "
        "--margin-limit"
        for row in rows
        if row.result is not None and row.result.noisy
    ]
    lines += [sequential(row.metric, row.look) for row in rows if row.look is not None]
    lines += [paired(row, row.difference) for row in rows if row.difference is not None]
    lines += [retraining(row.metric, row.retraining) for row in rows if row.retraining is not None]
    speeds = [row for row in rows if row.metric in SPEED and row.result is not None]
    if any(not row.interleaved and row.kind != "worse-quality" for row in rows):
        lines.append("stored runs were not interleaved: confirm a change in speed with --live")
    lines += [
        f"{row.metric}: compared by two intervals, which is less sharp: the influences of images are "
        "missing for a side, or are not its own (measure it again)"
        for row in rows
        if row.unpaired
    ]
    lines += [
        f"- {row.metric}: {told_values(row)}: no verdict, too few images for an interval (--samples)"
        for row in rows
        if row.unbounded and row.verdict != "same"
    ]
    unknown = [
        row
        for row in rows
        if not (row.result or row.difference or row.failure or row.reason or row.unbounded)
    ]
    if unknown:
        lines.append("- no verdict without a spread: measure both sides again with --trials 3")
    if speeds:
        worst = max(row.result.resolvable for row in speeds if row.result is not None)
        units = min(row.result.units for row in speeds if row.result is not None)
        what = "quads" if speeds[0].interleaved else "trials"
        lines.append(
            f"{units} {what}; smallest detectable difference in speed: "
            f"{100 * worst:.1f} % (noise from {speeds[0].noise_from})"
        )
    return lines
