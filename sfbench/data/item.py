"""One image of a source, not yet looked at; and a source of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Item(NamedTuple):
    """Its name, its content (an image file's bytes, or pixels [height, width, channels]), its class.

    `problem` says why there is no content.
    """

    name: str
    content: bytes | NDArray[np.uint8]
    label: int | None = None
    problem: str | None = None


class Reader(NamedTuple):
    """What a source was taken for, how many images it says to hold, and the images."""

    kind: str
    length: int | None
    items: Callable[[], Iterator[Item]]
