"""Images as users hold them, whatever the container: told apart by content, never by name."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from sfbench.api.errors import DataError
from sfbench.data import array_files
from sfbench.data.item import Reader
from sfbench.data.readers import arrays, cifar, collections, lmdb, parquet, stl10, tar


def open_reader(path: Path) -> Reader:
    """Return the reader of a source; raises DataError naming what is understood."""
    if not path.exists():
        msg = f"{path}: no such file or folder"
        raise DataError(msg)
    return of_folder(path) if path.is_dir() else of_file(path)


def of_folder(path: Path) -> Reader:
    """Return the reader of a folder: of what the files in it are."""
    inside = sorted(p for p in path.iterdir() if not p.name.startswith("."))
    if any(file.name == "data.mdb" for file in inside):
        return Reader("LMDB", lmdb.count(path), lambda: lmdb.items(path))
    for kind, suffix, module in (
        ("parquet", ".parquet", parquet),
        ("tar shards", ".tar", tar),
    ):
        files = [file for file in inside if file.suffix == suffix]
        if files:
            return Reader(kind, None, lambda m=module, f=files: m.items(f))  # type: ignore[misc]
    if any(cifar.is_batch_name(file.name) for file in inside):
        return Reader("CIFAR batches", None, lambda: cifar.of_folder(path))
    if any(stl10.is_image_file(file.name) for file in inside):
        return Reader("STL-10 binaries", None, lambda: stl10.of_folder(path))
    return collections.opened(path)


def of_file(path: Path) -> Reader:
    """Return the reader of a file, by its first bytes."""
    with path.open("rb") as file:
        head = file.read(8)
    if head.startswith(array_files.MAGIC):
        return Reader("array", None, lambda: arrays.items(path))
    if head.startswith(parquet.MAGIC):
        return Reader("parquet", None, lambda: parquet.items([path]))
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if names and all(name.endswith(".npy") for name in names):
            return Reader("arrays", None, lambda: arrays.items(path))
        return collections.opened(path)
    if tarfile.is_tarfile(path):
        return of_tar(path, tar.member_names(path))
    msg = (
        f"{path}: not understood; expected a folder or zip of images, a CIFAR or STL-10 archive, "
        "tar shards, LMDB, parquet, .npy or .npz"
    )
    raise DataError(msg)


def of_tar(path: Path, names: Sequence[str]) -> Reader:
    """Return the reader of a tar file: CIFAR's or STL-10's, or a shard of images."""
    if any(cifar.is_batch_name(Path(name).name) for name in names):
        return Reader("CIFAR archive", None, lambda: cifar.of_tar(path))
    if any(stl10.is_image_file(Path(name).name) for name in names):
        return Reader("STL-10 archive", None, lambda: stl10.of_tar(path))
    return Reader("tar", None, lambda: tar.items([path]))
