"""Every flag of a record, declared once: what it warns of, and whether the machine was disturbed.

Reports, their glossary and the table in `docs/measuring.md` derive from `FLAGS`. The names are in
`metric_names`, so that measuring code does not depend on how flags are described.
"""

from __future__ import annotations

import dataclasses

from sfbench.values.metric_names import (
    CUSTOM_TIMING,
    FALLBACK_KERNELS,
    LAUNCH_BOUND,
    NOISY,
    THROTTLED,
    UNIT_RANGE,
    UNREADABLE,
    UNSTEADY,
)


@dataclasses.dataclass(frozen=True, slots=True)
class Flag:
    """A flag: its name, when it is raised, and whether it says that the machine was not quiet."""

    name: str
    text: str
    disturbed: bool = False


FLAGS = (
    Flag(UNSTEADY, "the warm-up did not reach a steady state within 10 s", disturbed=True),
    Flag(NOISY, "blocks spread by more than 20 % of their median", disturbed=True),
    Flag(
        LAUNCH_BOUND,
        "the host, not the device, set the pace: wall time was more than 1.1 times device time, or "
        "the host spent nearly all of it queueing kernels",
    ),
    Flag(THROTTLED, "the driver lowered clocks because of power or heat", disturbed=True),
    Flag(FALLBACK_KERNELS, "torch ran a slow fallback for an operation"),
    Flag(
        UNIT_RANGE,
        "none of 16 images has a negative value: the model seems to return [0, 1] instead of "
        "[-1, 1], so its images have half of their contrast when they are judged",
    ),
    Flag(UNREADABLE, "some real images could not be read and were skipped"),
    Flag(
        CUSTOM_TIMING,
        "blocks, warm-up or calls are not those of the protocol; not compared with other rows",
    ),
)
DISTURBED = frozenset(flag.name for flag in FLAGS if flag.disturbed)


def flag_text(name: str) -> str:
    """Return what a flag says; of one that is not declared, that it is unknown here."""
    return next((flag.text for flag in FLAGS if flag.name == name), "unknown to this version")


def markdown() -> str:
    """Return the table of flags of `docs/measuring.md`."""
    rows = ["| flag | raised when |", "| --- | --- |"]
    return "\n".join([*rows, *(f"| `{flag.name}` | {flag.text} |" for flag in FLAGS)]) + "\n"
