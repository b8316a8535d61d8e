"""Influences on disk, beside the records: one .npz a value, named after its content.

A record's reading names its file; whoever compares two records pairs their images by them.
"""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import TypedDict

import numpy as np

from sfbench.data.array_files import ArrayFileError, read_arrays
from sfbench.quality.influences import Influences
from sfbench.store.whole_file import write_whole
from sfbench.values.documents import DocumentError, read_document

FOLDER = "influences"
NAME_LENGTH = 24


class About(TypedDict):
    """What of influences is not an array."""

    value: float
    images: str
    reference: str
    debiased: float | None


def keep_influences(root: Path, found: Influences) -> str | None:
    """Write influences into a store, as float32, and return the name of their file.

    None where they cannot be written: that must not cost what was measured.
    """
    about = About(
        value=found.value,
        images=found.images,
        reference=found.reference,
        debiased=found.debiased,
    )
    arrays = {
        "about": np.array(json.dumps(about, sort_keys=True)),
        "own": found.own.astype(np.float32),
    }
    if found.real is not None:
        arrays["real"] = found.real.astype(np.float32)
    memory = io.BytesIO()
    np.savez_compressed(memory, **arrays)  # type: ignore[arg-type]  # arrays by name
    hashed = hashlib.sha256(b"".join(part.tobytes() for part in arrays.values()))
    name = f"{hashed.hexdigest()[:NAME_LENGTH]}.npz"
    folder = root / FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / name, memory.getvalue())
    except OSError:
        return None
    return name


def read_influences(root: Path, name: object) -> Influences | None:
    """Return influences of a store by the name that a reading has; None where they cannot be read."""
    if not isinstance(name, str) or Path(name).name != name:
        return None
    try:
        arrays = read_arrays(root / FOLDER / name, "about", "own", "real")
        about = read_document(str(arrays["about"]), About)
        own = arrays["own"].astype(np.float64)
        real = arrays["real"].astype(np.float64) if "real" in arrays else None
    except (OSError, ArrayFileError, DocumentError, KeyError, ValueError):
        return None
    sets = [own] if real is None else [own, real]
    if any(one.ndim != 1 or len(one) <= 1 or not np.isfinite(one).all() for one in sets):
        return None
    return Influences(own=own, real=real, **about)
