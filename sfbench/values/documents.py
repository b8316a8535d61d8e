"""JSON documents that come from disk or from others, read as a declared type or not at all.

The checking is msgspec's: types, ranges of numbers, Unicode and depth. Control characters are
escaped here, so that none of them reaches a terminal or forges a line.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from sfbench.api.errors import UNSEEN_ABOVE_SPACE, first_line, printable

T = TypeVar("T")
REFUSALS = (msgspec.MsgspecError, ValueError, RecursionError)
WRITTEN = re.compile(rf"[{UNSEEN_ABOVE_SPACE}]|\\[bfnrt]|\\u(?:00[01789]|20[026])", re.IGNORECASE)
"""How JSON writes control characters; a text without any needs no second look.

Those below a space stand between values alone, as line breaks: inside a text JSON has none.
"""


class DocumentError(ValueError):
    """A text that is not the document it should be; the message is one line."""


def read_document(text: str | bytes, kind: type[T]) -> T:
    """Return the value of a declared type that a JSON text holds; raises DocumentError."""
    try:
        if is_plain(text):
            return msgspec.json.decode(text, type=kind)
        return msgspec.convert(visible(msgspec.json.decode(text)), type=kind)
    except REFUSALS as error:
        raise DocumentError(first_line(error)) from None


def is_plain(text: str | bytes) -> bool:
    """Return whether a JSON text is without control characters."""
    raw = text.encode(errors="replace") if isinstance(text, str) else text
    if raw.isascii() and b"\\" not in raw and b"\x7f" not in raw:
        return True  # most texts, seen at once
    return WRITTEN.search(raw.decode(errors="replace")) is None


def as_document(value: Any, kind: type[T]) -> T:
    """Return a value of a declared type from what a document holds; raises DocumentError."""
    try:
        return msgspec.convert(value, type=kind)
    except REFUSALS as error:
        raise DocumentError(first_line(error)) from None


def visible(value: Any) -> Any:
    """Return a JSON value whose texts have escapes in the place of control characters."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [visible(one) for one in value]
    if isinstance(value, dict):
        return {visible(name): visible(one) for name, one in value.items()}
    return value
