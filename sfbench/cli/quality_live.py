"""Behind `sfbench compare` with --data: both sides' images, on the same seeds and real images."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sfbench.api.errors import SfbenchError, UsageError
from sfbench.catalogue.catalogue import Catalogue
from sfbench.cli.drawn_sides import drawn, faults_of, opened, side_cases
from sfbench.cli.progress import PassProgress
from sfbench.cli.sides import Asked
from sfbench.quality.published import SAMPLES
from sfbench.report import comparison, verdicts
from sfbench.report.beside import Beside
from sfbench.report.verdicts import Row
from sfbench.values.case import Case, Request
from sfbench.values.job import case_document
from sfbench.values.messages import counted
from sfbench.values.metric_names import FD

if TYPE_CHECKING:
    from sfbench.quality.influences import Difference, Influences
    from sfbench.quality.sequential import Look

MOST_SEQUENTIAL = 10_000
"""Images of each side after which a sequential comparison gives up, where the user does not say."""


ALIKE = ("size", "seed", "labels", "data", "extractor")
"""What both sides must have in common, to be judged on the same images."""


def pairs_of(
    asked: Asked, shared: Request, catalogue: Catalogue, *, sequential: bool
) -> list[tuple[Case, Case]]:
    """Return the pairs of cases whose quality is compared.

    Raises UsageError for sides of another number of cases or of other images, or with another
    installation's Python.
    """
    most = shared.samples or (MOST_SEQUENTIAL if sequential else SAMPLES)
    request = dataclasses.replace(shared, samples=most)
    sides = [side_cases(text, request, catalogue) for text in (asked.a, asked.b)]
    if len(sides[0]) != len(sides[1]):
        msg = f"A has {len(sides[0])} cases, B has {len(sides[1])}; both must cover the same grid"
        raise UsageError(msg)
    pairs = list(zip(*sides, strict=True))
    if any(case.batch_rule != "fixed" for pair in pairs for case in pair):
        msg = f"--batch {shared.batch}: expected fixed batch sizes, e.g. --batch 8"
        raise UsageError(msg)
    for name in ALIKE:
        for a, b in pairs:
            if getattr(a, name) != getattr(b, name):
                msg = f"--data: both sides are judged on the same images; {name} differs"
                raise UsageError(msg)
    return pairs


def rows(
    asked: Asked, pairs: Sequence[tuple[Case, Case]], catalogue: Catalogue, *, sequential: bool
) -> Iterator[Row]:
    """Yield a row for each pair of cases: the Frechet distance of B beside that of A."""
    beside = Beside((asked.store, asked.store))
    for pair in pairs:
        try:
            row = (
                until_certain(asked, pair, catalogue, len(pairs))
                if sequential
                else at_once(asked, pair, catalogue)
            )
        except SfbenchError as error:
            yield Row(title=verdicts.title(*pair), metric=FD, failure=str(error))
            continue
        yield verdicts.with_retraining(row, [case_document(case) for case in pair], beside)


def at_once(asked: Asked, cases: tuple[Case, Case], catalogue: Catalogue) -> Row:
    """Return the row of one pair of cases with all images."""
    from sfbench.quality.paired import paired_change

    a, b = (
        drawn(text, case, asked, catalogue)
        for text, case in zip((asked.a, asked.b), cases, strict=True)
    )
    return row_of(cases, a.metric, paired_change(b.features, a.features, a.real))


def row_of(
    cases: tuple[Case, Case], metric: str, change: Difference, look: Look | None = None
) -> Row:
    """Return the row of a difference."""
    return Row(
        title=verdicts.title(*cases),
        metric=metric,
        result=comparison.of_difference(change),
        values=[[change.a], [change.b]],
        noise_from="pairs of images of the same seed",
        difference=change,
        look=look,
    )


def until_certain(
    asked: Asked, cases: tuple[Case, Case], catalogue: Catalogue, compared: int
) -> Row:
    """Return the row of one pair of cases, with as many images as its sign needs.

    `compared`: pairs of cases that share the level of 5 %.
    """
    from sfbench.quality import sequential
    from sfbench.quality.paired import influences_of

    a, b = (
        opened(text, case, asked, catalogue)
        for text, case in zip((asked.a, asked.b), cases, strict=True)
    )
    bar = PassProgress(sys.stderr, live=sys.stderr.isatty(), quiet=False)

    def sides(count: int) -> tuple[Influences, Influences]:
        found = []
        for side in (a, b):
            with faults_of(side.case.model, bar):
                found.append(influences_of(side.features(count), side.real))
        return found[0], found[1]

    looks: Iterator[Look] = sequential.until_certain(
        sides, a.real.shape[1], cases[0].samples, sequential.ALPHA / compared
    )
    for look in looks:
        bar.clear()
        print(
            f"{counted(look.images, 'image')} of each: {look.difference.change:+.3g} "
            f"[{look.low:+.3g}, {look.high:+.3g}]",
            file=sys.stderr,
        )
    return row_of(cases, a.metric, look.difference, look)
