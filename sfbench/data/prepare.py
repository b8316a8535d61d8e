"""Makes a folder of prepared images from items: built aside, renamed when complete."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sfbench.api.errors import DataError
from sfbench.data.array_files import map_array
from sfbench.data.decode import Decoding, RejectedImageError
from sfbench.data.item import Item
from sfbench.data.prepared import content_sha256
from sfbench.data.prepared_folder import FORMAT, IMAGES, LABELS, META
from sfbench.values.messages import counted

Progress = Callable[[str, int, int | None], None]
HEADER_BYTES = 128
CHANNELS = 3


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """An image that was left out, and why."""

    name: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """How to prepare a source, and how many bad images to tolerate."""

    decoding: Decoding
    max_bad: int = 0
    most: int | None = None
    labels: bool = True


def prepare(
    items: Iterable[Item],
    out: Path,
    wanted: Preparation,
    *,
    source: dict[str, Any],
    total: int | None,
    progress: Progress,
) -> dict[str, Any]:
    """Write the prepared folder and return its description.

    Raises DataError, leaving nothing behind, when more than `max_bad` images cannot be used, when
    none can, when `out` exists, or when the disk is full.
    """
    if out.exists():
        msg = f"{out}: already exists; choose another name or remove it first"
        raise DataError(msg)
    # A unique name: several processes of a run may prepare the same images.
    part = out.with_name(f"{out.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        meta = written(items, part, wanted, source=source, total=total, progress=progress)
        part.rename(out)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        msg = f"{out}: cannot be written ({error.strerror or error}); nothing was kept"
        raise DataError(msg) from None
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return meta


def written(
    items: Iterable[Item],
    folder: Path,
    wanted: Preparation,
    *,
    source: dict[str, Any],
    total: int | None,
    progress: Progress,
) -> dict[str, Any]:
    """Write the files of a prepared folder."""
    rejected: list[Rejected] = []
    notes: collections.Counter[str] = collections.Counter()
    labels: list[int | None] = []
    root = hashlib.sha256()
    side = wanted.decoding.resolution
    with (folder / IMAGES).open("wb") as file:
        file.write(bytes(HEADER_BYTES))
        for done, (item, pixels, note) in enumerate(
            decoded(items, wanted.decoding, rejected, root), start=1
        ):
            if pixels is not None:
                file.write(pixels.tobytes())
                labels.append(item.label)
                notes.update([note] if note else [])
            progress("images", done, total)
            if len(rejected) > wanted.max_bad:
                raise too_many(rejected, wanted.max_bad)
            if wanted.most is not None and len(labels) >= wanted.most:
                break
        if not labels:
            msg = f"{source['name']}: contains no usable image"
            raise DataError(msg)
        write_header(file, (len(labels), CHANNELS, side, side))
        file.flush()
        os.fsync(file.fileno())
    classes = classes_of(labels) if wanted.labels else None
    if classes is not None:
        np.save(folder / LABELS, classes)
    stored = map_array(folder / IMAGES)
    meta = {
        "format": FORMAT,
        "images": len(labels),
        "resolution": side,
        "classes": 0 if classes is None else int(classes.max()) + 1,
        "sha256": content_sha256(stored, classes),
        "source": {**source, "items_sha256": root.hexdigest()},
        "crop": wanted.decoding.crop,
        "filter": wanted.decoding.filter,
        "alpha": wanted.decoding.alpha,
        "converted": dict(notes),
        "rejected": [dataclasses.asdict(one) for one in rejected],
    }
    (folder / META).write_text(json.dumps(meta, indent=1), encoding="utf-8")
    return meta


def decoded(
    items: Iterable[Item], decoding: Decoding, rejected: list[Rejected], root: Any
) -> Iterator[tuple[Item, NDArray[np.uint8] | None, str | None]]:
    """Yield each item with its pixels, or None if rejected; update the digest."""
    for item in items:
        content = item.content if isinstance(item.content, bytes) else item.content.tobytes()
        root.update(item.name.encode(errors="surrogateescape") + b"\0")
        root.update(hashlib.sha256(content).digest())
        try:
            pixels, note = decoding.pixels(item)
        except RejectedImageError as error:
            rejected.append(Rejected(name=item.name, reason=str(error)))
            yield item, None, None
        else:
            yield item, pixels, note


def too_many(rejected: list[Rejected], allowed: int) -> DataError:
    """Return the error that names the images that cannot be used."""
    first = "; ".join(f"{one.name}: {one.reason}" for one in rejected[:3])
    return DataError(
        f"{counted(len(rejected), 'image')} cannot be used; expected at most {allowed} "
        f"(--max-bad): {first}"
    )


def classes_of(labels: list[int | None]) -> NDArray[np.int64] | None:
    """Return the classes, where every image has one."""
    found = [label for label in labels if label is not None]
    return np.array(found, np.int64) if len(found) == len(labels) else None


def write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    """Write the .npy header, version 1.0, at the start of the file: the length is known last."""
    fields = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
    text = fields.ljust(HEADER_BYTES - 11) + "\n"
    file.seek(0)
    file.write(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode("latin1"))
