"""IDX files, as MNIST is published: images uint8 [N, height, width] behind a header of 16 bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sfbench.data.container import Container, Look
from sfbench.data.item import Item

if TYPE_CHECKING:
    from pathlib import Path

MAGIC, HEADER = b"\x00\x00\x08\x03", 16


class Idx(Container):
    """The images of one file."""

    order: ClassVar[int] = 15

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with path.open("rb") as file:
            head = file.read(HEADER)
        self.count, self.height, self.width = (
            int.from_bytes(head[start : start + 4]) for start in (4, 8, 12)
        )

    @classmethod
    def takes(cls, look: Look) -> bool:
        """Return whether the file begins as IDX of three axes of bytes does."""
        return look.head.startswith(MAGIC)

    @property
    def title(self) -> str:
        """An IDX file."""
        return "IDX file"

    def __len__(self) -> int:
        """Return the number of images."""
        return self.count

    def item(self, index: int) -> Item:
        """Return one image, uint8 [height, width, 1]."""
        import numpy as np  # slow to import

        size = self.height * self.width
        with self.path.open("rb") as file:
            file.seek(HEADER + index * size)
            pixels = np.frombuffer(file.read(size), np.uint8)
        return Item(f"{index:05d}", pixels.reshape(self.height, self.width, 1))


CONTAINER = Idx
