"""A folder of prepared images: one uint8 array, and how it was made. No torch here.

images.npy   uint8 [N, channels, side, side]
labels.npy   int64 [N], where the images have classes
meta.json    source, crop, filter, digest of the pixels, what was rejected and why
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sfbench.api.errors import DataError

IMAGES, LABELS, META = "images.npy", "labels.npy", "meta.json"
FORMAT = 1


def is_prepared(path: Path) -> bool:
    """Return whether the path is a folder of prepared images."""
    return (path / META).is_file() and (path / IMAGES).is_file()


def read_meta(folder: Path) -> Mapping[str, Any]:
    """Return the description of a prepared folder."""
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
        found = meta["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = (
            f"{folder}: not a folder of prepared images ({error}); make one with sfbench data build"
        )
        raise DataError(msg) from None
    if found != FORMAT:
        msg = f"{folder}: expected format {FORMAT}, found {found}; build it again"
        raise DataError(msg)
    return meta  # type: ignore[no-any-return]  # json
