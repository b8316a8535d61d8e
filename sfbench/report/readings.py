"""Readings of one evaluation as a table for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sfbench.report.numbers import ABSENT, number
from sfbench.values.messages import counted
from sfbench.values.records import Reading

DIGITS = 4


def readings_table(readings: Sequence[Reading]) -> RenderableType:
    """Return values with intervals, debiased values and counts, then notes."""
    return Group(*(part for part in parts(readings) if part is not None))


def plain_table(readings: Sequence[Reading], heading: str) -> RenderableType:
    """Return values with intervals, whatever was compared; then warnings and missing values."""
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    found.add_column("metric", overflow="fold")
    for name in ("value", "95 % interval"):
        found.add_column(name, justify="right", no_wrap=True)
    lines: dict[str, list[str]] = {}
    for reading in readings:
        if reading.value is None:
            lines.setdefault(f"- {{}}: {reading.reason}", []).append(reading.metric)
            continue
        found.add_row(Text(reading.metric), number(reading.value, DIGITS), interval_of(reading))
        if "warning" in reading.how:
            lines.setdefault(f"! {{}}: {reading.how['warning']}", []).append(reading.metric)
    told = (text.format(", ".join(names)) for text, names in lines.items())
    return Group(Text(heading), found, *map(Text, told))


def interval_of(reading: Reading) -> str:
    """Return a reading's interval, or that there is none."""
    if reading.low is None or reading.high is None:
        return ABSENT
    return f"{number(reading.low, DIGITS)} .. {number(reading.high, DIGITS)}"


def parts(readings: Sequence[Reading]) -> Iterator[RenderableType | None]:
    """Yield the heading, the table, and the notes under it."""
    measured = [reading for reading in readings if reading.value is not None]
    if measured:
        yield Text("\n".join(heading(measured)))
        yield table(measured)
    for line in notes(readings):
        yield Text(line)


def heading(measured: Sequence[Reading]) -> list[str]:
    """Return what is compared with what."""
    how = measured[0].how
    reference = how["reference"]
    digest = reference.get("sha256")
    name = f"{reference.get('name')}" + (f" ({digest[:8]})" if digest else "")
    count = how["real"]
    real = f"{count:,} real" if count is not None else "an unknown number of real"
    return [f"{counted(how['generated'], 'generated image')} against {real} images of {name}"]


def table(measured: Sequence[Reading]) -> Table:
    """Return one row per reading, with a column of counts if they differ."""
    counts = {reading.how["generated"] for reading in measured}
    columns = ["value", "95 % interval", "debiased", *(["N"] if len(counts) > 1 else [])]
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    found.add_column("metric", overflow="fold")
    for name in columns:
        found.add_column(name, justify="right", no_wrap=True)
    for reading in measured:
        cells = [
            number(reading.value, DIGITS),
            interval_of(reading),
            number(reading.how.get("debiased"), DIGITS),
            f"{reading.how['generated']:,}",
        ]
        found.add_row(Text(reading.metric), *cells[: len(columns)])
    return found


def notes(readings: Sequence[Reading]) -> list[str]:
    """Return extractors, warnings, problems with images by protocol, and missing values."""
    lines: dict[str, None] = {}
    images: dict[str, dict[str, None]] = {}
    absent: dict[str, list[str]] = {}
    for reading in readings:
        how = reading.how
        if reading.value is None:
            absent.setdefault(str(reading.reason), []).append(reading.metric)
            continue
        lines[extractor_line(how)] = None
        if "warning" in how:
            lines[f"! {reading.metric}: {how['warning']}"] = None
        for which, count, converted in zip(
            ("images", "reference"), how["unreadable"], how["converted"], strict=True
        ):
            if count:
                told = f"! {which}: {count} could not be read and were skipped"
                images.setdefault(told, {})[how["protocol"]] = None
            for note, times in sorted(converted.items()):
                images.setdefault(f"  {which}: {times} {note}", {})[how["protocol"]] = None
    every = {name for names in images.values() for name in names}
    common = (
        line if len(names) == len(every) else f"{line} ({', '.join(names)})"
        for line, names in images.items()
    )
    return [
        *lines,
        *common,
        *(f"- {', '.join(names)}: {reason}" for reason, names in absent.items()),
    ]


def extractor_line(how: Any) -> str:
    """Return the extractor, and how images were fed to it."""
    extractor = how["extractor"]
    digest = extractor["weights_sha256"]
    return (
        f"  {how['protocol']}: {extractor['name']}{f' ({digest[:8]})' if digest else ''}, "
        f"resize {extractor['resize']}"
        + (f", {extractor['features']} features" if extractor["features"] else "")
    )
