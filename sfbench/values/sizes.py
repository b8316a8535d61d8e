"""Sizes of images: "32" for a square, "48x64" for 48 pixels high and 64 wide, and ranges of squares."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from sfbench.api.errors import UsageError

LARGEST_RESOLUTION = 8192


class Size(NamedTuple):
    """Height and width in pixels."""

    height: int
    width: int

    @property
    def is_square(self) -> bool:
        """Whether both are the same."""
        return self.height == self.width

    def __str__(self) -> str:
        """Return it as a flag gives it: "32" or "48x64"."""
        return str(self.height) if self.is_square else f"{self.height}x{self.width}"


def square(side: int) -> Size:
    """Return the size of a square."""
    return Size(side, side)


class HasGet(Protocol):
    """A stored case, or a row of a table."""

    def get(self, key: Any, /) -> Any:
        """Return a value by name, None without it."""


def size_of(case: HasGet) -> Size:
    """Return the size of images of a stored case, or of a table's row; squares have no width."""
    height, width = int(case.get("resolution")), case.get("width")
    # Frames hold NaN where a value is missing.
    return Size(height, int(width) if width is not None and width == width else height)  # noqa: PLR0124


def parse_sizes(text: str) -> tuple[Size, ...]:
    """Return the sizes that "32,48x64" or "32:256*2" (from:to*factor) stand for.

    Raises UsageError for anything else.
    """
    sizes: list[Size] = []
    for part in text.split(","):
        first, cross, second = part.partition("x")
        if ":" in part:
            sizes += [square(side) for side in _range(part)]
        else:
            sizes.append(Size(_side(first, part), _side(second if cross else first, part)))
    return tuple(dict.fromkeys(sizes))


def parse_resolutions(text: str) -> tuple[int, ...]:
    """Return the sides of squares that a text stands for; raises UsageError for anything else."""
    sizes = parse_sizes(text)
    oblong = next((size for size in sizes if not size.is_square), None)
    if oblong is not None:
        msg = f"resolution {oblong}: expected squares, e.g. 32 or 32:256*2"
        raise UsageError(msg)
    return tuple(size.height for size in sizes)


def _range(part: str) -> list[int]:
    first, _, rest = part.partition(":")
    last, star, factor = rest.partition("*")
    start, stop = _side(first, part), _side(last, part)
    step = _side(factor, part) if star else 2
    if step < 2 or stop < start:  # noqa: PLR2004  # a factor of 1 would never arrive
        msg = f"resolution {part}: expected FROM:TO*FACTOR with TO >= FROM and FACTOR >= 2"
        raise UsageError(msg)
    sides = [start]
    while sides[-1] * step <= stop:
        sides.append(sides[-1] * step)
    return sides


def _side(text: str, part: str) -> int:
    if not text.strip().isdecimal() or not 1 <= int(text) <= LARGEST_RESOLUTION:
        msg = f"resolution {part!r}: expected pixels, e.g. 32, or 32,64, or 32:256*2, or 48x64"
        raise UsageError(msg)
    return int(text)
