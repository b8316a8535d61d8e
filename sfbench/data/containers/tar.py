"""Tar shards in the WebDataset form: KEY.jpg beside KEY.cls; nothing is unpacked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import ClassVar

from sfbench.api.archives import MEMBER_LIMIT
from sfbench.api.errors import DataError
from sfbench.api.images import is_hidden, is_image_name
from sfbench.data.container import Container, Counted, Look, class_of, folder_classes
from sfbench.data.item import Item
from sfbench.data.tar_files import OpenTar, Place, content, tar_errors

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
CLASS_SUFFIX = ".cls"


class TarShards(Container):
    """The images of one tar file, or of all tar files of a folder by name, in their order.

    Where each image lies is noted once; one file is open at a time. Compressed files are read from
    their beginning whenever an earlier image is asked for. Classes are those of .cls files, or else
    of subfolders.
    """

    order: ClassVar[int] = 60

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.left_out: dict[str, Counted] = {}
        self.shards = self.files()
        self.open: tuple[int, OpenTar] | None = None
        self.places: list[tuple[int, Place, int | None]] = []
        for number, file in enumerate(self.shards):
            shard = OpenTar(file)
            with tar_errors(file):
                self.places += [(number, place, label) for place, label in self.images_of(shard)]
            shard.close()
        if not self.places:
            msg = f"{path}: a tar file without images; expected image files"
            raise DataError(msg)
        names = [place.name.removeprefix("./") for _, place, _ in self.places]
        classes = folder_classes(names)
        if classes and all(label is None for _, _, label in self.places):
            self.places = [
                (number, place, classes[str(PurePosixPath(name).parent)])
                for (number, place, _), name in zip(self.places, names, strict=True)
            ]

    @classmethod
    def takes(cls, look: Look) -> bool:
        """Return whether it is a tar file, or a folder with some."""
        inside = look.path.is_dir() and any(name.endswith(SUFFIXES) for name in look.names)
        return look.is_tar or inside

    @property
    def title(self) -> str:
        """A tar file, or several."""
        return "tar shards" if self.path.is_dir() else "tar"

    def files(self) -> list[Path]:
        """Return the tar files, of subfolders, too."""
        if self.path.is_file():
            return [self.path]
        found = [file for depth in ("*", "*/*") for file in self.path.glob(depth)]
        return sorted(file for file in found if file.name.endswith(SUFFIXES) and file.is_file())

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.places)

    def item(self, index: int) -> Item:
        """Return one image file."""
        number, place, label = self.places[index]
        if place.size > MEMBER_LIMIT:
            return Item(place.name, b"", None, f"larger than {MEMBER_LIMIT >> 20} MiB")
        with tar_errors(self.shards[number]):
            return Item(place.name, self.opened(number).read(place), label)

    def opened(self, number: int) -> OpenTar:
        """Return a shard, open; the one before it is closed."""
        if self.open is None or self.open[0] != number:
            if self.open is not None:
                self.open[1].close()
            self.open = number, OpenTar(self.shards[number])
        return self.open[1]

    def label(self, index: int) -> int | None:
        """Return the class of an image, or None."""
        return self.places[index][2]

    def beside(self) -> dict[str, Counted]:
        """Return what is in the archives beside the images."""
        return super().beside() | self.left_out

    def leave(self, what: str, name: str) -> None:
        """Count something that is not used."""
        self.left_out.setdefault(what, Counted()).add(name)

    def images_of(self, shard: OpenTar) -> Iterator[tuple[Place, int | None]]:
        """Yield the images of one shard: files of one key stand together, in any order."""
        key, images, label = "", list[Place](), None
        for member in shard.members():
            path = PurePosixPath(member.name)
            if str(path.with_suffix("")) != key:
                yield from ((image, label) for image in images)
                key, images, label = str(path.with_suffix("")), [], None
            if not member.isreg() or member.issparse():
                if is_image_name(member.name):
                    self.leave("images are links or sparse files and are left out", member.name)
            elif is_hidden(member.name):
                self.leave("hidden files are left out", member.name)
            elif is_image_name(member.name):
                images.append(Place.of(member))
            elif path.suffix == CLASS_SUFFIX:
                text = content(shard.archive, member)
                label = class_of(text)
                if label is None:
                    self.odd_labels.add(f"{member.name} ({text[:20]!r})")
            else:
                self.leave("files are not images", member.name)
        yield from ((image, label) for image in images)
        if shard.goes_on():
            self.leave("archives go on after their end, which is not read", shard.path.name)


CONTAINER = TarShards
