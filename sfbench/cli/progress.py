"""Progress of a run for people: one live line on a terminal, plain lines otherwise.

The line is redrawn only when an event arrives, and none arrives while a block is timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

from sfbench.run.standing import Standing
from sfbench.store.claims import Holder
from sfbench.values.case import Case
from sfbench.values.messages import counted
from sfbench.values.records import Record
from sfbench.values.sizes import size_of

MOST_NAMES = 4
"""Of workers in one line."""
PLAIN_SECONDS = 30.0
"""Where nobody sees a line redrawn, progress inside a phase is a line this often."""


class ProgressLines:
    """Writes progress to a stream; `live` redraws one line, otherwise each trial gets its lines.

    `told_apart`: what tells a case apart from others of its title.
    """

    def __init__(
        self, stream: TextIO, *, live: bool, told_apart: Callable[[Case], str] = lambda _: ""
    ) -> None:
        self.stream = stream
        self.told_apart = told_apart
        self.live = live
        self.total = 0
        self.done = 0
        self.began = time.monotonic()
        self.phase_began = self.began
        self.told = self.began
        self.title = ""
        self.phase = ""
        self.about: list[object] | None = None
        self.width = 0

    def planned(self, missing: int, stored: int) -> None:
        """Print how many trials there are to measure."""
        self.total = missing
        known = f", {stored} already measured" if stored else ""
        self.write(f"{missing} trial{'' if missing == 1 else 's'} to measure{known}")

    def started(self, case: Case, trial: int) -> None:
        """Begin a trial's line."""
        number = f" trial {trial + 1}" if trial else ""
        apart = self.told_apart(case)
        title = f"{case.title()} {apart}" if apart else case.title()
        self.title = f"[{self.done + 1}/{self.total}] {title}: {', '.join(case.measure)}{number}"
        if not self.live:
            self.write(self.title)

    def event(self, event: Mapping[str, Any]) -> None:
        """Show the phase, the images done, and the time left where it is known."""
        phase = str(event["phase"])
        if phase != self.phase:
            self.phase, self.phase_began = phase, time.monotonic()
        text = phase
        if event.get("done"):
            done, total = event["done"], event["total"]
            left = (time.monotonic() - self.phase_began) / done * (total - done)
            text = f"{phase} {done}/{total}" + (f", {clock(left)} left" if done < total else "")
        if self.live:
            self.redraw(f"{self.title}: {text}{self.remaining()}")
        elif "done" not in event or time.monotonic() - self.told > PLAIN_SECONDS:
            self.told = time.monotonic()
            self.write(f"  {text}")

    def remaining(self) -> str:
        """Return the expected time of the trials after this one, once one is finished."""
        if not self.done or self.done + 1 >= self.total:
            return ""
        each = (time.monotonic() - self.began) / (self.done + 0.5)
        return f" (all: about {clock(each * (self.total - self.done))})"

    def finished(self, record: Record) -> None:
        """End a trial's line with its outcome."""
        self.done += 1
        reason = f": {record.reason}" if record.reason else ""
        self.clear()
        head = f"{self.title}: " if self.live else "  "
        self.write(f"{head}{record.status}{reason} ({clock(record.seconds)})")

    def found(self, record: Record) -> None:
        """Say that another worker measured a trial."""
        self.arrived(record, ", by another")

    def arrived(self, record: Record, by: str = "") -> None:
        """Say how a trial ended that this process did not start."""
        self.done += 1
        self.clear()
        reason = f": {record.reason}" if record.reason else ""
        head = f"[{self.done}/{self.total}] {title_of(record)}"
        self.write(f"{head}: {record.status}{reason} ({clock(record.seconds)}{by})")

    def helping(self, case: Case, trial: int) -> None:
        """Say that features are computed for a trial of another worker."""
        number = f" trial {trial + 1}" if trial else ""
        self.title = f"helping with {case.title()}{number}"
        if not self.live:
            self.write(self.title)

    def waiting(self, left: int, holders: Sequence[Holder]) -> None:
        """Say what others do, while there is nothing to do here: when it changes, and now and then."""
        about = [left, *(one.name for one in holders)]
        others = shortened([what_of(one) for one in holders]) or "nothing that is claimed"
        self.tell(f"{counted(left, 'trial')} left; others work on {others}", about)

    def working(self, standing: Standing, engine: str = "") -> None:
        """Say what the workers of a plan do, now and then; `engine`: what the engine says of them."""
        left = standing.seconds_left if standing.running else None
        pace = f", about {clock(left)} left" if left else ""
        head = f"[{self.done}/{self.total}] {counted(len(standing.running), 'worker')}{pace}"
        head = head if standing.begun else "no worker has begun"
        names = shortened([what_of(one) for one in standing.running]) or engine
        self.tell(f"{head}: {names}" if names else head, [engine])

    def tell(self, text: str, about: Sequence[object]) -> None:
        """Show a line that changes: plainly only when what it is about changes, and now and then."""
        if self.live:
            self.redraw(text)
        elif list(about) != self.about or time.monotonic() - self.told > PLAIN_SECONDS:
            self.told, self.about = time.monotonic(), list(about)
            self.write(text)

    def write(self, text: str) -> None:
        """Write one line."""
        self.stream.write(text + "\n")
        self.stream.flush()

    def redraw(self, text: str) -> None:
        """Write over the live line."""
        self.stream.write(f"\r{text[:79]:<{self.width}}")
        self.stream.flush()
        self.width = min(len(text), 79)

    def clear(self) -> None:
        """Take the live line away."""
        if self.live and self.width:
            self.stream.write(f"\r{'':<{self.width}}\r")
            self.width = 0


def title_of(record: Record) -> str:
    """Return what a record is of, as the lines of a run say it."""
    case = record.case
    number = f" trial {record.trial + 1}" if record.trial else ""
    title = f"{case['model']} {size_of(case)}px b{case['batch']} {case['dtype']} {case['mode']}"
    return f"{title}: {', '.join(case['measure'])}{number}"


def what_of(holder: Holder) -> str:
    """Return what a claim is about, and who holds it."""
    return f"{holder.owner.get('what') or holder.name} ({who(holder)})"


def shortened(names: Sequence[str]) -> str:
    """Return names as a list, of which only the first are told."""
    more = len(names) - MOST_NAMES
    return "; ".join(names[:MOST_NAMES]) + (f"; and {more} more" if more > 0 else "")


def who(holder: Holder) -> str:
    """Return who holds a claim: machine, process, and what it does."""
    owner = holder.owner
    device = f" {owner['device']}" if owner.get("device") else ""
    phase = f", {owner['phase']}" if owner.get("phase") else ""
    late = f", not heard of for {clock(holder.idle_seconds)}" if holder.expired else ""
    late = ", which has ended" if holder.gone else late
    return f"{owner.get('host', '?')}{device}, process {owner.get('pid', '?')}{phase}{late}"


class PassProgress:
    """Shows how many images are processed: one live line, or a plain line every half minute."""

    def __init__(self, stream: TextIO, *, live: bool, quiet: bool) -> None:
        self.stream = stream
        self.live = live
        self.quiet = quiet
        self.what = ""
        self.began = self.told = time.monotonic()
        self.first = self.width = 0

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show progress; the time left counts from the first image that was not kept already.

        `total` 0: the number of images is unknown.
        """
        now = time.monotonic()
        if what != self.what:
            self.what, self.began, self.told, self.first = what, now, now, done
        if self.quiet or (
            now - self.told < (0.2 if self.live else PLAIN_SECONDS) and done != total
        ):
            return
        self.told = now
        if not total:
            self.show(f"{what} {done:,}")
            return
        fresh = done - self.first
        left = (now - self.began) / fresh * (total - done) if fresh else None
        text = f"{what} {done:,}/{total:,}"
        if done < total and left is not None:
            text += f", {clock(left)} left"
        if self.live or done < total:
            self.show(text)

    def show(self, text: str) -> None:
        """Write over the live line, or write a line."""
        if self.quiet:
            return
        if self.live:
            self.stream.write(f"\r{text[:79]:<{self.width}}")
            self.width = min(len(text), 79)
        else:
            self.stream.write(text + "\n")
        self.stream.flush()

    def clear(self) -> None:
        """Take the live line away."""
        if self.live and self.width:
            self.stream.write(f"\r{'':<{self.width}}\r")
            self.width = 0


def clock(seconds: float) -> str:
    """Return a duration as people say it."""
    if seconds < 60:  # noqa: PLR2004  # a minute
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
