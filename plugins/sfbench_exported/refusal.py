"""The one way in which a file is refused."""

from __future__ import annotations


class RefusedError(ValueError):
    """Something in the file is not what torch.export writes, or could run code."""


def need(condition: object, complaint: str) -> None:
    """Raise RefusedError with the complaint where the condition does not hold."""
    if not condition:
        raise RefusedError(complaint)
