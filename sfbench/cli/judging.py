"""Behind `sfbench quality` and `sfbench explain`: images against images."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfbench.api.errors import DataError, UsageError, printable
from sfbench.cli import verifying
from sfbench.cli.bench import Asked, Bench, labels_of
from sfbench.cli.exits import Exit
from sfbench.quality.protocols import read_protocol, read_protocols
from sfbench.values.records import Reading

if TYPE_CHECKING:
    from sfbench.quality.peers.verification import Verified


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Files to draw: images beside their nearest real ones, and those that cost the distance most."""

    neighbors: Path | None = None
    blame: Path | None = None

    def check(self) -> None:
        """Raise an error, before any work, for a picture that could not be written."""
        check_picture(self.neighbors, "--neighbors")
        check_picture(self.blame, "--blame")

    def check_reference(self, comparison: Any) -> None:
        """Raise UsageError where there are no real images to draw with."""
        for flag, path in (("--neighbors", self.neighbors), ("--blame", self.blame)):
            if path is not None and comparison.reference is None:
                msg = f"{flag} needs the reference images, not a statistics file"
                raise UsageError(msg)

    def draw(self, comparison: Any) -> None:
        """Draw what was asked, and print the captions."""
        if self.neighbors is not None:
            from sfbench.inspection.neighbor_picture import draw_neighbors  # torch comes with it

            print(draw_neighbors(comparison, self.neighbors), file=sys.stderr)
        if self.blame is not None:
            from sfbench.inspection.blame_picture import draw_blame  # torch comes with it

            print(
                draw_blame(comparison, self.blame, labels_of(comparison.generated)), file=sys.stderr
            )


NONE = Pictures()


def quality(
    asked: Asked, protocol: str, pictures: Pictures = NONE, verify: str = "", *, as_json: bool
) -> Exit:
    """Print every reading of the protocols; 5 when none has a value.

    `verify`: packages that are run themselves; 1 when one of them is not as near as its card says.
    """
    protocols = list(read_protocols(protocol))
    peers = verifying.names_of(verify)
    protocols = verifying.with_cards(protocols, peers)
    pictures.check()
    bench = Bench(asked)
    comparison = bench.comparison(protocols)
    pictures.check_reference(comparison)
    if peers:
        verifying.check(bench, comparison)
    try:
        with bench.together():
            readings = list(comparison.readings())
        bench.progress.clear()
        checked = verifying.verified(bench, comparison, readings, peers) if peers else []
    except KeyboardInterrupt:
        bench.progress.clear()
        print("interrupted: finished parts are saved; run again to continue", file=sys.stderr)
        return Exit.INTERRUPTED
    if bench.rank > 0:
        return Exit.OK
    name_unreadable(comparison)
    show(readings, checked, as_json=as_json, verifies=bool(peers))
    pictures.draw(comparison)
    if not all(one.holds for one in checked):
        return Exit.SOME_FAILED
    some = any(reading.value is not None for reading in readings)
    return Exit.OK if some else Exit.NOTHING_MEASURED


def show(
    readings: Sequence[Reading], checked: Sequence[Verified], *, as_json: bool, verifies: bool
) -> None:
    """Print the readings, and what other packages say, where they were asked."""
    if as_json:
        documents: Any = [dataclasses.asdict(reading) for reading in readings]
        if verifies:
            documents = {"readings": documents, "verified": verifying.document(checked)}
        print(json.dumps(documents, indent=1))
        return
    from sfbench.cli.terminal import console
    from sfbench.report import verification
    from sfbench.report.readings import readings_table

    console().print(readings_table(readings))
    if checked:
        console().print(verification.table(checked))


def check_picture(picture: Path | None, flag: str) -> None:
    """Raise UsageError, before any work, if the picture could not be written."""
    if picture is None:
        return
    if picture.suffix.lower() != ".png":
        msg = f"{flag} {picture}: expected a file name that ends in .png"
        raise UsageError(msg)
    if not picture.parent.is_dir():
        msg = f"{flag} {picture}: folder {picture.parent} does not exist"
        raise DataError(msg)


def name_unreadable(comparison: Any) -> None:
    """Print every image that could not be read, one per line."""
    for line in comparison.unreadable:
        print(f"warning: left out: {printable(line)}", file=sys.stderr)


def explain(asked: Asked, first: str, second: str, *, as_json: bool) -> Exit:
    """Print the gap between two protocols, one convention at a time."""
    if first == second:
        msg = f"--protocols {first} {second}: expected two different protocols"
        raise UsageError(msg)
    ways = read_protocol(first, "--protocols"), read_protocol(second, "--protocols")
    bench = Bench(asked)
    from sfbench.quality.explain import Explanation  # torch comes with it

    comparison = bench.comparison(list(ways))
    with bench.together():
        explanation = Explanation(comparison, *ways)
        steps = list(explanation.steps())
    bench.progress.clear()
    if bench.rank > 0:
        return Exit.OK
    name_unreadable(comparison)
    for line in explanation.left_out:
        print(f"- {line}", file=sys.stderr)
    if as_json:
        print(json.dumps([dataclasses.asdict(step) for step in steps], indent=1))
    else:
        from sfbench.cli.terminal import console
        from sfbench.report.explanation import steps_table

        console().print(f"{first} -> {second}")
        console().print(steps_table(steps))
    return Exit.OK
