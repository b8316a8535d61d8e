"""Array files: .npy, or .npz with `arr_0` or `images`, and classes in `arr_1` or `labels` (ADM)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from sfbench.api.errors import DataError
from sfbench.data.container import Container, Look, class_of
from sfbench.data.item import Item

if TYPE_CHECKING:
    import numpy as np

MAGIC = b"\x93NUMPY"
IMAGES, LABELS = ("arr_0", "images", "x"), ("arr_1", "labels", "y")
CHANNELS = (1, 3, 4)
NDIM = 4


class ImageArray(Container):
    """Images uint8 [N, height, width, channels] or [N, channels, height, width].

    Raises DataError for anything else. Nothing is unpickled.
    """

    order: ClassVar[int] = 10

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        pixels, labels = read(path)
        if pixels.dtype == "uint8" and pixels.ndim == NDIM - 1:
            pixels = pixels[..., None]  # gray images without an axis of channels
        if pixels.dtype != "uint8" or pixels.ndim != NDIM:
            msg = (
                f"{path}: an array {pixels.dtype} {pixels.shape}; expected images "
                "uint8 (N, height, width, 3)"
            )
            raise DataError(msg)
        if pixels.shape[3] not in CHANNELS and pixels.shape[1] in CHANNELS:
            pixels = pixels.transpose(0, 2, 3, 1)
        if pixels.shape[3] not in CHANNELS:
            msg = f"{path}: images {pixels.shape[1:]}; expected 1, 3 or 4 channels, first or last"
            raise DataError(msg)
        if not pixels.size:
            msg = f"{path}: an array of no images, or of images of no pixels {pixels.shape}"
            raise DataError(msg)
        if labels is not None and labels.shape != (len(pixels),):
            msg = f"{path}: labels {labels.shape} for {len(pixels)} images; expected one per image"
            raise DataError(msg)
        self.pixels = pixels
        self.classes: list[int | None] = [None] * len(pixels)
        if labels is not None:
            self.classes = [class_of(value) for value in labels.tolist()]
            for value, found in zip(labels.tolist(), self.classes, strict=True):
                if found is None:
                    self.odd_labels.add(str(value)[:40])

    @classmethod
    def takes(cls, look: Look) -> bool:
        """Return whether it is a .npy file, or a zip of nothing but those."""
        arrays = look.is_zip and all(name.endswith(".npy") for name in look.names)
        return look.head.startswith(MAGIC) or (arrays and bool(look.names))

    @property
    def title(self) -> str:
        """An array file."""
        return "array file"

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.pixels)

    def item(self, index: int) -> Item:
        """Return one image's pixels."""
        import numpy as np  # slow to import

        return Item(f"{index:08d}", np.array(self.pixels[index]), self.label(index))

    def label(self, index: int) -> int | None:
        """Return the class of one image, or None."""
        return self.classes[index]


def read(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Return images and labels of the file."""
    from sfbench.data.array_files import ArrayFileError, array_names, map_array, read_arrays

    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) == MAGIC:
                return map_array(path), None
        there = array_names(path)
        image = next((name for name in IMAGES if name in there), None)
        label = next((name for name in LABELS if name in there), None)
        arrays = read_arrays(path, *filter(None, (image, label))) if image else {}
    except (OSError, ArrayFileError) as error:
        msg = f"{path}: cannot be read as an array file ({error})"
        raise DataError(msg) from None
    if image is None:
        found = ", ".join(there) or "nothing"
        msg = f"{path}: holds {found}; expected images ({IMAGES[0]}), or statistics (mu and sigma)"
        raise DataError(msg)
    return arrays[image], None if label is None else arrays[label]


CONTAINER = ImageArray
