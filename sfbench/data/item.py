"""One image of a container, before it is decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Item(NamedTuple):
    """An image's name, its content and its class.

    `content`: the bytes of an image file, or pixels uint8 [height, width, channels]. `problem`
    says why there is no content.
    """

    name: str
    content: bytes | NDArray[np.uint8]
    label: int | None = None
    problem: str | None = None
