"""The one family of errors.

    SfbenchError
    ├── UsageError        an invalid flag, name or value
    ├── PluginError       a requested plugin is broken or claims a taken name
    ├── WeightsError      a weights file that cannot be used (unsafe, wrong shape, missing)
    ├── DataError         images or records that cannot be used
    ├── UnsupportedError  the model or machine cannot do what the case asks
    ├── SkippedError      the case has nothing to measure
    └── ContractError     a plugin broke the contract of sfbench.api
        └── NonFiniteError    its images hold NaN or infinity

Messages are one line: what was expected, what was found, what to do. The command line
catches the family once; anything else is a bug and shows its traceback.
"""

from __future__ import annotations

import re

UNSEEN_ABOVE_SPACE = "\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069"
UNSEEN = re.compile(f"[\x00-\x1f{UNSEEN_ABOVE_SPACE}]")
"""Control characters, and those that turn the direction of text."""


def printable(text: str) -> str:
    """Return text of strangers for a terminal, on one line: what cannot be seen as escapes."""
    return UNSEEN.sub(lambda found: ascii(found[0])[1:-1], text)


class SfbenchError(Exception):
    """Base of all errors that sfbench raises on purpose; its text is one line for a terminal."""

    def __str__(self) -> str:
        """Return the message, with what a file or plugin put into it made visible."""
        return printable(super().__str__())


class UsageError(SfbenchError):
    """An invalid flag, name or value."""


class PluginError(SfbenchError):
    """A requested plugin is broken or claims a taken name."""


class WeightsError(SfbenchError):
    """A weights file that cannot be used."""


class DataError(SfbenchError):
    """Images or records that cannot be used."""


class UnsupportedError(SfbenchError):
    """The model or the machine cannot do what the case asks."""


class SkippedError(SfbenchError):
    """The case has nothing to measure."""


class ContractError(SfbenchError):
    """A plugin broke the contract of sfbench.api."""


class NonFiniteError(ContractError):
    """The generator's images hold NaN or infinity."""


def first_line(error: BaseException, most: int = 200) -> str:
    """Return the first line of an error's message, or its type if it has none; printable."""
    told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    lines = told.strip().splitlines()
    text = (lines[0] if lines else type(error).__name__)[:most]
    return text if text.isprintable() else ascii(text)[1:-1]
