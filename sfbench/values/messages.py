"""Words that several rooms put into messages."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: 1 image, 2 images."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
