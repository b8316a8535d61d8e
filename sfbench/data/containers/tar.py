"""Tar shards in the WebDataset form: KEY.jpg beside KEY.cls; nothing is unpacked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import ClassVar

from sfbench.api.archives import MEMBER_LIMIT
from sfbench.api.errors import DataError
from sfbench.api.images import is_hidden, is_image_name
from sfbench.data.container import Container, Look
from sfbench.data.item import Item
from sfbench.data.tar_files import OpenTar, Place, content, tar_errors

SUFFIX, CLASS_SUFFIX = ".tar", ".cls"


class TarShards(Container):
    """The images of one tar file, or of all tar files of a folder by name, in their order.

    Where each image lies is noted once. Compressed files are read from their beginning whenever
    an earlier image is asked for.
    """

    order: ClassVar[int] = 60

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.places: list[tuple[int, Place, int | None]] = []
        self.shards = [OpenTar(file) for file in self.files()]
        for number, shard in enumerate(self.shards):
            with tar_errors(shard.path):
                self.places += [(number, place, label) for place, label in images_of(shard)]
        if not self.places:
            msg = f"{path}: a tar file without images; expected image files"
            raise DataError(msg)

    @classmethod
    def takes(cls, look: Look) -> bool:
        """Return whether it is a tar file, or a folder with some."""
        inside = look.path.is_dir() and any(name.endswith(SUFFIX) for name in look.names)
        return look.is_tar or inside

    @property
    def title(self) -> str:
        """A tar file, or several."""
        return "tar shards" if self.path.is_dir() else "tar"

    def files(self) -> list[Path]:
        """Return the tar files."""
        return sorted(self.path.glob(f"*{SUFFIX}")) if self.path.is_dir() else [self.path]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.places)

    def item(self, index: int) -> Item:
        """Return one image file."""
        number, place, label = self.places[index]
        if place.size > MEMBER_LIMIT:
            return Item(place.name, b"", None, f"larger than {MEMBER_LIMIT >> 20} MiB")
        shard = self.shards[number]
        with tar_errors(shard.path):
            return Item(place.name, shard.read(place), label)

    def label(self, index: int) -> int | None:
        """Return the class that lies beside an image, or None."""
        return self.places[index][2]


def images_of(shard: OpenTar) -> Iterator[tuple[Place, int | None]]:
    """Yield the images of one shard: files of one key stand together, in any order."""
    key, image, label = "", None, None
    for member in shard.members():
        path = PurePosixPath(member.name)
        if str(path.with_suffix("")) != key:
            if image is not None:
                yield image, label
            key, image, label = str(path.with_suffix("")), None, None
        if is_image_name(member.name) and not is_hidden(member.name):
            image = Place.of(member)
        elif path.suffix == CLASS_SUFFIX:
            text = content(shard.archive, member).strip()
            label = int(text) if text.isdigit() else None
    if image is not None:
        yield image, label


CONTAINER = TarShards
