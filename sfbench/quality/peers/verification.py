"""A protocol's numbers beside those of the package that it repeats, on the same files and weights."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import torch
from PIL import Image

from sfbench.api.errors import DataError
from sfbench.api.tensors import read_tensors
from sfbench.quality.image_sets import ImageSet
from sfbench.quality.inception_names import in_torch_fidelity_names
from sfbench.quality.peers import worker
from sfbench.quality.protocols import Protocol
from sfbench.values.documents import DocumentError, read_document

BATCH = 32
SUFFIXES = {".bmp", ".jpg", ".jpeg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
"""Of files that every peer reads; others become PNG."""


class Answer(TypedDict, total=False):
    """What a peer's process says: numbers by measure, or the reason that there are none."""

    values: dict[str, float]
    versions: dict[str, str]
    seconds: float
    reason: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """One number here and there. `tolerance`: how far they may be apart; `theirs` None: `reason`."""

    metric: str
    peer: str
    ours: float | None
    theirs: float | None
    tolerance: float | None = None
    reason: str | None = None

    @property
    def difference(self) -> float | None:
        """Ours less theirs."""
        return None if self.ours is None or self.theirs is None else self.ours - self.theirs

    @property
    def holds(self) -> bool:
        """Whether both are there and within the tolerance."""
        apart = self.difference
        return apart is not None and self.tolerance is not None and abs(apart) <= self.tolerance


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Two folders of image files and a file of weights, as every peer reads them."""

    generated: Path
    real: Path
    weights: Path
    batch: int


def write_files(folder: Path, generated: ImageSet, real: ImageSet, weights: Path) -> Files:
    """Write the images of both sets, and the weights as tensors alone.

    The files as they are where they are files, in this project's order; arrays become PNG. Unreadable
    images are left out, as everywhere. Images of several sizes are taken one at a time, since no
    peer takes them together.
    """
    sizes: set[tuple[int, int]] = set()
    for name, images in (("generated", generated), ("real", real)):
        (folder / name).mkdir()
        sizes |= write_images(folder / name, images)
    state = in_torch_fidelity_names(read_tensors(weights))
    torch.save(state, folder / "weights.pth")
    return Files(
        generated=folder / "generated",
        real=folder / "real",
        weights=folder / "weights.pth",
        batch=BATCH if len(sizes) == 1 else 1,
    )


def write_images(folder: Path, images: ImageSet) -> set[tuple[int, int]]:
    """Write a set of images; return their sizes."""
    dataset: Any = getattr(images, "dataset", None)
    plain = hasattr(dataset, "container") and dataset.size is None
    sizes = set()
    for place, (index, found) in enumerate(images.read(images.indices)):
        if isinstance(found, DataError):
            continue
        stored = found.stored or found
        sizes.add((stored.pixels.shape[1], stored.pixels.shape[2]))
        item = dataset.container.item(index) if plain else None
        suffix = "" if item is None else Path(item.name).suffix.lower()
        if item is not None and isinstance(item.content, bytes) and suffix in SUFFIXES:
            (folder / f"{place:09d}{suffix}").write_bytes(item.content)
        else:
            array = stored.pixels.permute(1, 2, 0).numpy()
            Image.fromarray(array).save(folder / f"{place:09d}.png")
    return sizes


def ask(peer: str, files: Files, device: str, threads: int) -> Answer:
    """Return what a peer says of the files, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        job, answer = Path(folder) / "job.json", Path(folder) / "answer.json"
        document = {"peer": peer, "device": device, "threads": threads, "batch": files.batch}
        document |= {n: str(getattr(files, n)) for n in ("generated", "real", "weights")}
        job.write_text(json.dumps(document), encoding="utf-8")
        command = [sys.executable, "-P", "-m", worker.__name__, str(job), str(answer)]
        done = subprocess.run(  # noqa: S603  # this program
            command, capture_output=True, text=True, errors="replace", check=False, env=os.environ
        )
        try:
            return read_document(answer.read_bytes(), Answer)
        except (OSError, DocumentError):
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            return Answer(reason=f"ended with exit code {done.returncode}: {last}")


def compared(
    peer: str, protocol: Protocol, ours: Mapping[str, Any], names: Mapping[str, str], told: Answer
) -> Sequence[Verified]:
    """Return a line for each measure of a peer.

    `ours`: values by metric; `names`: the metric of each measure.
    """
    if "reason" in told:
        metric = names["frechet"]
        return [
            Verified(
                metric=metric, peer=peer, ours=ours.get(metric), theirs=None, reason=told["reason"]
            )
        ]
    found = []
    for measure, theirs in told["values"].items():
        metric = names[measure]
        absolute, relative = protocol.verify[measure]
        found.append(
            Verified(
                metric=metric,
                peer=f"{peer} {told['versions'][peer]}",
                ours=ours.get(metric),
                theirs=theirs,
                tolerance=absolute + relative * abs(theirs),
            )
        )
    return found
