"""A folder of prepared images: one uint8 array, and how it was made. No torch here.

images.npy   uint8 [N, channels, side, side]
labels.npy   int64 [N], where the images have classes
meta.json    source, crop, filter, digest of the pixels, what was rejected and why
"""

from __future__ import annotations

from pathlib import Path
from typing import NotRequired, TypedDict

from sfbench.api.errors import DataError
from sfbench.api.regular_files import check_regular
from sfbench.values.documents import DocumentError, read_document

IMAGES, LABELS, META = "images.npy", "labels.npy", "meta.json"
FORMAT = 1


class Origin(TypedDict):
    """What images were prepared from."""

    name: str
    kind: str
    sha256: NotRequired[str]
    items_sha256: NotRequired[str]
    definition: NotRequired[str]


class RejectedImage(TypedDict):
    """An image that was left out, and why."""

    name: str
    reason: str


class Meta(TypedDict):
    """What a prepared folder says of itself."""

    format: int
    images: int
    resolution: int
    classes: int
    sha256: str
    source: Origin
    crop: str
    filter: str
    alpha: str
    converted: dict[str, int]
    rejected: list[RejectedImage]


def is_prepared(path: Path) -> bool:
    """Return whether the path is a folder of prepared images."""
    return (path / META).is_file() and (path / IMAGES).is_file()


def read_meta(folder: Path) -> Meta:
    """Return the description of a prepared folder."""
    try:
        check_regular(folder / META)
        meta = read_document((folder / META).read_bytes(), Meta)
    except (OSError, DocumentError) as error:
        msg = (
            f"{folder}: not a folder of prepared images ({error}); make one with sfbench data build"
        )
        raise DataError(msg) from None
    if meta["format"] != FORMAT:
        msg = f"{folder}: expected format {FORMAT}, found {meta['format']}; build it again"
        raise DataError(msg)
    return meta
