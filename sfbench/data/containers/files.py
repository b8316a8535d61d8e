"""Folders and zip files of image files; classes from dataset.json, or one per sub-folder."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from sfbench.api.errors import DataError
from sfbench.api.images import ImageCollection, folder_of
from sfbench.data.container import Container, Counted, Look, folder_classes
from sfbench.data.item import Item


class ImageFiles(Container):
    """Image files by name. Raises DataError where there is none."""

    order: ClassVar[int] = 100

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.images = ImageCollection(path)
        self.classes = folder_classes(self.images.names)

    @classmethod
    def takes(cls, look: Look) -> bool:
        """Return whether it is a folder or zip file: what nobody else takes."""
        return look.is_zip or look.path.is_dir()

    @property
    def title(self) -> str:
        """Whether it is a folder or a zip file."""
        return f"{'folder' if self.path.is_dir() else 'zip'} of images"

    def __len__(self) -> int:
        """Return the number of image files."""
        return len(self.images)

    def item(self, index: int) -> Item:
        """Return one image file."""
        name = self.images.names[index]
        try:
            return Item(name, self.images.read_bytes(name), self.label(index))
        except (OSError, DataError) as error:
            return Item(name, b"", None, str(error))

    def label(self, index: int) -> int | None:
        """Return the class from dataset.json, or that of the sub-folder."""
        if self.images.class_of:
            return self.images.label(index)
        return self.classes.get(folder_of(self.images.names[index]))

    def beside(self) -> dict[str, Counted]:
        """Return files that are no images, hidden ones, empty folders, and labels of nothing."""
        file = self.images.labels_file or ""
        found = {
            "files are not images": self.images.others,
            "images in hidden or cache folders are left out": self.images.hidden,
            "folders are empty": self.images.empty,
            f"names in {file} are of no image": self.images.unmatched,
            f"images have no class in {file}: no classes are used": self.images.unlabeled,
        }
        return {what: Counted(names) for what, names in found.items()}

    def sha256(self) -> str:
        """Return the digest of names and contents, or of the zip file."""
        return self.images.sha256()


CONTAINER = ImageFiles
