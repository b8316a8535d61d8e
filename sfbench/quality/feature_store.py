"""Features on disk, keyed by their inputs: shards of 1,024 images, written atomically.

The key holds everything that affects a feature (weights, resize, arithmetic, images); an
interrupted run continues after its last shard, and several processes fill one folder.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from sfbench.api.errors import DataError
from sfbench.data.array_files import read_arrays
from sfbench.quality.receipts import Fingerprints
from sfbench.quality.statistics import FeatureStatistics, Rows
from sfbench.store.whole_file import whole_file, write_whole
from sfbench.values.documents import DocumentError, read_document
from sfbench.values.job import SHARD_IMAGES
from sfbench.values.records import digest

META = "meta.json"
PARTS = ("about", "indices", "features", "spatial", "fingerprints")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Features of up to 1,024 images by number; unreadable images; conversions.

    `fingerprints`: of generated images, by the numbers of the statistics.
    """

    statistics: FeatureStatistics
    spatial: Rows | None
    bad: Mapping[int, str]
    notes: Mapping[str, int]
    fingerprints: Fingerprints | None = None


class FeatureStore:
    """A folder of features. Nothing in it is unpickled; a damaged shard is recomputed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, key: Mapping[str, Any]) -> Path:
        """Return the folder of one set of features."""
        return self.folder / digest(key)[:32]

    def shard_file(self, key: Mapping[str, Any], number: int) -> Path:
        """Return the path of a shard."""
        return self.place(key) / f"{number:06d}.npz"

    def has(self, key: Mapping[str, Any], number: int) -> bool:
        """Return whether a shard exists."""
        return self.shard_file(key, number).exists()

    def save(self, key: Mapping[str, Any], number: int, shard: Shard, *, name: str) -> None:
        """Write a shard atomically: under another name, then renamed.

        Raises DataError if the folder cannot be written to, e.g. because the disk is full.
        """
        try:
            self.write(key, number, shard, name=name)
        except OSError as error:
            msg = (
                f"{self.folder}: features cannot be written ({error.strerror or error}); make room, "
                "or set XDG_CACHE_HOME to another folder"
            )
            raise DataError(msg) from None

    def write(self, key: Mapping[str, Any], number: int, shard: Shard, *, name: str) -> None:
        """Write a shard and, with the first one, what the set is."""
        place = self.place(key)
        place.mkdir(parents=True, exist_ok=True)
        if not (place / META).exists():
            write_whole(
                place / META,
                json.dumps({"name": name, "key": key}, indent=1, sort_keys=True).encode(),
            )
        statistics = shard.statistics
        arrays: dict[str, np.ndarray] = {
            "indices": statistics.indices,
            "features": statistics.features,
            "about": np.array(
                json.dumps(
                    {"bad": {str(k): v for k, v in shard.bad.items()}, "notes": dict(shard.notes)}
                )
            ),
        }
        if statistics.logits is not None:
            arrays["logits"] = statistics.logits
        if shard.spatial is not None:
            arrays["spatial"] = shard.spatial
        if shard.fingerprints is not None:
            arrays["fingerprints"] = shard.fingerprints
        write_archive(self.shard_file(key, number), arrays)

    def load(self, key: Mapping[str, Any], number: int, *, logits: bool) -> Shard | None:
        """Return a shard with the requested parts, or None for a missing or damaged file."""
        path = self.shard_file(key, number)
        try:
            arrays = read_arrays(path, *PARTS, *(["logits"] if logits else []))
            about = read_document(str(arrays["about"]), About)
            return Shard(
                statistics=FeatureStatistics(
                    indices=arrays["indices"],
                    features=arrays["features"],
                    logits=arrays.get("logits"),
                ),
                spatial=arrays.get("spatial"),
                bad={int(index): reason for index, reason in about["bad"].items()},
                notes=about["notes"],
                fingerprints=arrays.get("fingerprints"),
            )
        except (FileNotFoundError, ValueError, KeyError):
            # Left where it is: another process may have replaced it by now.
            return None

    def remove(self, key: Mapping[str, Any]) -> None:
        """Remove one set of features."""
        shutil.rmtree(self.place(key), ignore_errors=True)

    def sets(self) -> list[dict[str, Any]]:
        """Return one row per stored set of features: its name, key, shards and bytes."""
        rows = []
        for meta in sorted(self.folder.glob(f"*/{META}")):
            shards = list(meta.parent.glob("*.npz"))
            rows.append(
                {
                    "folder": meta.parent.name,
                    "shards": len(shards),
                    "bytes": sum(file.stat().st_size for file in meta.parent.iterdir()),
                    **about_set(meta),
                }
            )
        return rows

    def clear(self) -> int:
        """Remove everything stored; return how many sets there were."""
        found = self.sets()
        for row in found:
            shutil.rmtree(self.folder / row["folder"])
        return len(found)


class About(TypedDict):
    """What a shard says of its images: those that could not be read, and what was converted."""

    bad: dict[str, str]
    notes: dict[str, int]


class AboutSet(TypedDict):
    """What a set of features says of itself: a name for people, and all that it depends on."""

    name: str
    key: dict[str, Any]


def about_set(path: Path) -> AboutSet:
    """Return what a set says of itself; one that is damaged is called so, and can be cleared."""
    try:
        return read_document(path.read_bytes(), AboutSet)
    except (OSError, DocumentError) as error:
        return {"name": f"damaged ({error})", "key": {}}


def write_archive(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as .npz, atomically."""
    with whole_file(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # arrays by name


def shard_numbers(count: int) -> range:
    """Return the numbers of the shards that `count` images make."""
    return range(-(-count // SHARD_IMAGES))


def shard_range(number: int, indices: Sequence[int]) -> Sequence[int]:
    """Return the images of one shard."""
    return indices[number * SHARD_IMAGES : (number + 1) * SHARD_IMAGES]
