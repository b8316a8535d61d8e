"""The feature pass: images read or generated once, resized once per method, one forward per input.

Every protocol is a preprocessing of this pass's output. Images are processed in batches of a fixed size
at fixed positions, so that features are bit-identical whatever the caller's batch size, the
number of processes, or interruptions.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from sfbench.api.errors import DataError
from sfbench.api.protocols import FeatureExtractor, Features, Picture
from sfbench.catalogue.reach import Reach, tree_around, versions_of
from sfbench.catalogue.registry import source_file
from sfbench.hardware.devices import find_backend
from sfbench.hardware.policy import strict_precision
from sfbench.quality.feature_store import FeatureStore, Shard, shard_numbers, shard_range
from sfbench.quality.gathered import ExtractedFeatures, Gathered
from sfbench.quality.image_sets import ImageSet
from sfbench.quality.receipts import as_rows, fingerprints_of
from sfbench.quality.resizing import resized
from sfbench.quality.statistics import FeatureStatistics, Rows
from sfbench.store.claims import PART, Claims
from sfbench.values.pixels import QUANTIZERS
from sfbench.values.records import digest

BATCH = 32
POLL_SECONDS = 0.5
Reading = Literal["upright", "stored"]
Progress = Callable[[str, int, int], None]
"""Called with the activity, the number of images done, and the total."""


@functools.cache
def feature_code(*modules: str) -> Reach:
    """Return what decides a feature: what this module and those of extractor and reader reach."""
    files = {name: source_file(name) for name in (__name__, *modules)}
    return tree_around(files).reach(files)


@dataclasses.dataclass(frozen=True, slots=True)
class Preprocessing:
    """One way from images to an extractor's features.

    `reading`: which pixels of a file are taken, where a protocol's differ from the upright ones.
    `quantization` applies only to floating-point images and is "bytes" for files. `scale`: "own"
    leaves 0..255 to the extractor; "unit" feeds it x / 255 * 2 - 1 where it expects (x - 128) / 128.
    `spatial`: also keep spatial features.
    """

    extractor: FeatureExtractor
    quantization: str
    resize: str
    scale: str = "own"
    spatial: bool = False
    reading: Reading = "upright"

    @property
    def identity(self) -> dict[str, Any]:
        """Everything about the preprocessing that affects a feature."""
        return {
            "extractor": dict(self.extractor.identity),
            "reading": self.reading,
            "quantization": self.quantization,
            "resize": self.resize,
            "scale": self.scale,
            "spatial": self.spatial,
        }

    def read(self, picture: Picture) -> Picture:
        """Return the picture as the protocol reads it."""
        return (self.reading == "stored" and picture.stored) or picture

    def prepared(self, images: Tensor) -> Tensor:
        """Return images [batch, 3, h, w] as the extractor takes them, float32 in 0..255."""
        x = resized(images, self.resize, self.extractor.side or 0)
        # The network subtracts 128 and divides by 128: this gives it 2 x / 255 - 1.
        return x * (256 / 255) if self.scale == "unit" else x


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The shards that this process computes: those whose number is `rank` modulo `world`."""

    rank: int = 0
    world: int = 1


def alone() -> None:
    """No-op barrier."""


def always() -> bool:
    """Whatever happens, go on."""
    return True


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FeaturePass:
    """Extracts features of images in several preprocessings into a store.

    `claims`: by which other processes fill the same store at the same time, shard by shard;
    `patient`: whether the shards that they compute are waited for; `is_wanted`: whether any other
    shard is.
    """

    progress: Progress
    device: str
    share: Share = Share()  # frozen
    barrier: Callable[[], None] = alone
    claims: Claims | None = None
    patient: bool = True
    is_wanted: Callable[[], bool] = always

    def key(self, image_set: ImageSet, preprocessing: Preprocessing) -> dict[str, Any]:
        """Return everything that the features depend on.

        File names are not part of it: equal images are equal wherever they are.
        """
        images = dict(image_set.identity)
        if "dataset" in images:
            images["dataset"] = {k: v for k, v in images["dataset"].items() if k != "name"}
        code = feature_code(type(preprocessing.extractor).__module__, *image_set.code)
        return preprocessing.identity | {
            "code": code.digest,
            "images": images,
            "device": self.device,
            "processor": find_backend(self.device).processor(),
            "versions": versions_of(code.packages),
            "batch": BATCH,
        }

    def ensure(
        self, image_set: ImageSet, preprocessings: Sequence[Preprocessing], store: FeatureStore
    ) -> None:
        """Compute and store every preprocessing's features, except those already stored."""
        keys = {
            preprocessing: self.key(image_set, preprocessing) for preprocessing in preprocessings
        }
        total = len(image_set.indices)
        done = 0
        left = list(shard_numbers(total))
        while left:
            others = []
            for number in left:
                if not self.is_wanted():
                    return
                mine = number % self.share.world == self.share.rank
                if mine and not self.filled(image_set, keys, number, store, (done, total)):
                    others.append(number)
                    continue
                done += len(shard_range(number, image_set.indices))
                self.progress(image_set.what, done, total)
            if not self.patient:
                break
            if len(others) == len(left):
                time.sleep(POLL_SECONDS)
            left = others
        try:
            image_set.check_unchanged()
        except DataError:
            for key in keys.values():
                store.remove(key)  # they may be of other images than their name says
            raise
        self.barrier()

    def filled(
        self,
        image_set: ImageSet,
        keys: Mapping[Preprocessing, Mapping[str, Any]],
        number: int,
        store: FeatureStore,
        so_far: tuple[int, int],
    ) -> bool:
        """Compute a shard where it is missing; return False where another process computes it."""
        if not any(not store.has(key, number) for key in keys.values()):
            return True
        # Two models' images have one key, and each its own folder.
        name = f"{PART}{digest([store.folder.name, *keys.values()])[:24]}-{number}"
        claim: AbstractContextManager[object] | None = nullcontext()
        if self.claims is not None:
            claim = self.claims.take(name, f"{image_set.what}, part {number + 1}")
        if claim is None:
            return False
        with claim:
            absent = {one: key for one, key in keys.items() if not store.has(key, number)}
            if absent:
                part = shard_range(number, image_set.indices)
                self.make(image_set, part, absent, number, store, so_far)
        return True

    def extract(
        self,
        image_set: ImageSet,
        preprocessing: Preprocessing,
        store: FeatureStore,
        *,
        logits: bool,
    ) -> ExtractedFeatures:
        """Return the features of one preprocessing."""
        self.ensure(image_set, [preprocessing], store)
        return self.collected(image_set, preprocessing, store, logits=logits)

    def collected(
        self,
        image_set: ImageSet,
        preprocessing: Preprocessing,
        store: FeatureStore,
        *,
        logits: bool,
    ) -> ExtractedFeatures:
        """Return the stored shards of one preprocessing as one."""
        key = self.key(image_set, preprocessing)
        gathered = Gathered(len(image_set.indices))
        for number in shard_numbers(len(image_set.indices)):
            shard = store.load(key, number, logits=logits)
            if shard is None:
                part = shard_range(number, image_set.indices)
                self.make(image_set, part, {preprocessing: key}, number, store, (0, len(part)))
                shard = store.load(key, number, logits=logits)
            if shard is None:
                msg = f"{store.shard_file(key, number)}: cannot be read back after writing"
                raise DataError(msg)
            gathered.add(shard)
        if not gathered.count:
            first = next(iter(gathered.bad.values()))
            msg = f"{image_set.what}: none of the {len(image_set.indices)} can be read: {first}"
            raise DataError(msg)
        return gathered.extracted()

    def make(
        self,
        image_set: ImageSet,
        indices: Sequence[int],
        keys: Mapping[Preprocessing, Mapping[str, Any]],
        number: int,
        store: FeatureStore,
        so_far: tuple[int, int],
    ) -> None:
        """Extract and store one shard's features in these preprocessings."""
        rows: dict[Preprocessing, list[tuple[list[int], Features]]] = {
            preprocessing: [] for preprocessing in keys
        }
        bad: dict[int, str] = {}
        notes: dict[Preprocessing, dict[str, int]] = {preprocessing: {} for preprocessing in keys}
        prints: list[bytes] = []
        done, total = so_far
        starts = range(0, len(indices), BATCH)
        chunks = (list(indices[start : start + BATCH]) for start in starts)
        with torch.inference_mode():
            for batch in self.ahead(image_set, chunks):
                good: list[tuple[int, Picture]] = []
                for index, found in batch:
                    if isinstance(found, DataError):
                        bad[index] = str(found)
                        continue
                    good.append((index, found))
                    for preprocessing, counts in notes.items():
                        note = preprocessing.read(found).note
                        if note:
                            counts[note] = counts.get(note, 0) + 1
                if good:
                    numbers = [index for index, _ in good]
                    if image_set.floating:
                        prints += fingerprints_of(numbers, torch.stack([p.pixels for _, p in good]))
                    for preprocessing, features in self.extracted(
                        [p for _, p in good], list(keys)
                    ).items():
                        rows[preprocessing].append((numbers, features))
                done += len(batch)
                self.progress(image_set.what, done, total)
        for preprocessing, key in keys.items():
            shard = shard_of(rows[preprocessing], bad, notes[preprocessing], prints)
            store.save(key, number, shard, name=name_of(image_set))

    def ahead(
        self, image_set: ImageSet, chunks: Iterator[list[int]]
    ) -> Iterator[list[tuple[int, Picture | DataError]]]:
        """Yield batches of images; files are read one batch ahead."""
        if image_set.floating:
            # A generator shares the device with the extractor: nothing can overlap.
            for chunk in chunks:
                yield list(image_set.read(chunk))
            return
        with ThreadPoolExecutor(1) as reader:
            waiting = None
            for chunk in chunks:
                following = reader.submit(list, image_set.read(chunk))
                if waiting is not None:
                    yield waiting.result()
                waiting = following
            if waiting is not None:
                yield waiting.result()

    def extracted(
        self, pictures: Sequence[Picture], preprocessings: Sequence[Preprocessing]
    ) -> dict[Preprocessing, Features]:
        """Return the features of up to a batch of images, of one size or of several."""
        made: dict[Preprocessing, Features] = {}
        alike = {preprocessing: preprocessing for preprocessing in preprocessings}
        if all(picture.stored is None for picture in pictures):
            alike = {one: dataclasses.replace(one, reading="upright") for one in preprocessings}
        for preprocessing in dict.fromkeys(alike.values()):
            with strict_precision():
                found = [
                    preprocessing.extractor(group)
                    for group in self.prepared(pictures, preprocessing)
                ]
            made[preprocessing] = joined(found, spatial=preprocessing.spatial)
        return {preprocessing: made[one] for preprocessing, one in alike.items()}

    def prepared(self, pictures: Sequence[Picture], preprocessing: Preprocessing) -> list[Tensor]:
        """Return images as the extractor takes them: one batch, or one per size if it takes any."""
        pixels = [preprocessing.read(picture).pixels for picture in pictures]
        quantized = [self.quantized(image, preprocessing).to(self.device)[None] for image in pixels]
        if len({image.shape for image in quantized}) == 1:
            return [preprocessing.prepared(torch.cat(quantized))]
        single = [preprocessing.prepared(image) for image in quantized]
        return single if preprocessing.extractor.side is None else [torch.cat(single)]

    def quantized(self, image: Tensor, preprocessing: Preprocessing) -> Tensor:
        """Return a generated image quantized as the preprocessing requires; bytes stay bytes."""
        return QUANTIZERS[preprocessing.quantization](image) if image.is_floating_point() else image


def joined(found: Sequence[Features], *, spatial: bool) -> Features:
    """Return the features of several calls as one, on the host."""

    def column(parts: Sequence[Tensor | None]) -> Tensor | None:
        there = [part for part in parts if part is not None]
        return torch.cat(there).float().cpu() if len(there) == len(parts) else None

    return Features(
        torch.cat([one.pooled for one in found]).float().cpu(),
        column([one.logits for one in found]),
        column([one.spatial for one in found]) if spatial else None,
    )


def name_of(image_set: ImageSet) -> str:
    """Return the name of the images: a file, a built-in name, a model."""
    identity = image_set.identity
    for part in ("dataset", "model"):
        found = identity.get(part, {})
        if found:
            return str(found.get("name") or found.get("model"))
    return image_set.what


def shard_of(
    rows: Sequence[tuple[list[int], Features]],
    bad: Mapping[int, str],
    notes: Mapping[str, int],
    fingerprints: Sequence[bytes],
) -> Shard:
    """Return the stored form of one shard."""
    indices = [index for numbers, _ in rows for index in numbers]

    def column(name: str) -> Rows | None:
        parts = [getattr(features, name) for _, features in rows]
        if not parts or any(part is None for part in parts):
            return None
        return torch.cat(parts).numpy()

    features = column("pooled")
    return Shard(
        statistics=FeatureStatistics.of(
            indices,
            np.zeros((0, 0), np.float32) if features is None else features,
            column("logits"),
        ),
        spatial=column("spatial"),
        bad=bad,
        notes=notes,
        fingerprints=as_rows(fingerprints) if fingerprints else None,
    )
