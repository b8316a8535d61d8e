"""Reading images that exist: a folder or a zip (StyleGAN layout or plain), by Pillow, no torch."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from sfbench.api.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
LABELS_FILE = "dataset.json"
MEMBER_LIMIT = 1 << 28
RESIZE = "Pillow Lanczos on uint8, after a centre crop to a square"


class ImageCollection:
    """The images of a folder (with sub-folders) or a zip file, in sorted order of their names.

    Raises DataError when the path does not exist, is neither, or holds no image.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            msg = f"{path}: no such file or folder; expected a zip file or folder of images"
            raise DataError(msg)
        if path.is_file() and not zipfile.is_zipfile(path):
            msg = (
                f"{path}: neither a zip file nor a folder; expected one of them with images inside"
            )
            raise DataError(msg)
        self.path = path
        try:
            self.archive = None if path.is_dir() else zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            msg = f"{path}: a damaged zip file ({error})"
            raise DataError(msg) from None
        names = sorted(self._all_names())
        self.names = [name for name in names if PurePosixPath(name).suffix.lower() in SUFFIXES]
        if not self.names:
            kinds = ", ".join(sorted(SUFFIXES))
            msg = f"{path}: {len(names)} files, none of them an image ({kinds})"
            raise DataError(msg)
        self.class_of = self._read_labels() if LABELS_FILE in names else {}

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.names)

    def _all_names(self) -> Iterator[str]:
        if self.archive is None:
            files = (file for file in self.path.rglob("*") if file.is_file())
            yield from (file.relative_to(self.path).as_posix() for file in files)
        else:
            yield from (entry.filename for entry in self.archive.infolist() if not entry.is_dir())

    def _read_labels(self) -> dict[str, int]:
        try:
            rows = json.loads(self.read_bytes(LABELS_FILE)).get("labels") or []
            return {str(name): int(label) for name, label in rows}
        except (ValueError, TypeError, AttributeError) as error:
            msg = f"{self.path}: {LABELS_FILE} is not a StyleGAN label list ({error})"
            raise DataError(msg) from None

    def read_bytes(self, name: str) -> bytes:
        """Return one file's content; raises DataError for a zip member over 256 MiB."""
        if self.archive is None:
            return (self.path / name).read_bytes()
        if self.archive.getinfo(name).file_size > MEMBER_LIMIT:
            msg = f"{self.path}: {name} unpacks to more than {MEMBER_LIMIT >> 20} MiB"
            raise DataError(msg)
        return self.archive.read(name)

    def read(self, index: int, resolution: int) -> np.ndarray:
        """Return image `index` as uint8 RGB [side, side, 3], resized when its size differs."""
        import numpy as np  # slow to import
        from PIL import Image, ImageOps, UnidentifiedImageError  # slow to import

        name = self.names[index]
        try:
            with Image.open(io.BytesIO(self.read_bytes(name))) as opened:
                image = ImageOps.exif_transpose(opened)
                rgb = to_rgb(image, f"{self.path}: {name}")
        except (
            UnidentifiedImageError,
            OSError,
            SyntaxError,
            zipfile.BadZipFile,
            Image.DecompressionBombError,
        ) as error:
            msg = f"{self.path}: {name} cannot be read as an image ({error})"
            raise DataError(msg) from None
        if rgb.size != (resolution, resolution):
            # Cropped first: resizing a box of the image would let the filter see beyond it.
            side = min(rgb.size)
            left, top = (rgb.width - side) // 2, (rgb.height - side) // 2
            square = rgb.crop((left, top, left + side, top + side))
            rgb = square.resize((resolution, resolution), Image.Resampling.LANCZOS)
        return np.asarray(rgb)

    def label(self, index: int) -> int | None:
        """Return the class number of image `index` from dataset.json, or None."""
        return self.class_of.get(self.names[index])

    def sha256(self) -> str:
        """Return a digest of what the images are: names and contents, or the zip file itself."""
        if self.archive is not None:
            with self.path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256()
        for name in self.names:
            content = hashlib.sha256((self.path / name).read_bytes()).hexdigest()
            digest.update(f"{name}\0{content}\n".encode())
        return digest.hexdigest()


def to_rgb(image: Image.Image, name: str) -> Image.Image:
    """Return an 8-bit RGB image; raises DataError where that would lose what the image says."""
    if image.mode in {"RGB", "L", "P", "1", "CMYK", "YCbCr"} and "transparency" not in image.info:
        return image.convert("RGB")
    msg = (
        f"{name} has mode {image.mode}"
        f"{' with transparency' if 'transparency' in image.info else ''}; "
        "expected 8-bit RGB, grey or palette: convert it first"
    )
    raise DataError(msg)
