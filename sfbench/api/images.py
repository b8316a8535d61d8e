"""Reading existing images from a folder or zip (StyleGAN layout or plain) by Pillow, no torch."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from sfbench.api.archives import DAMAGE, MEMBER_LIMIT, ArchiveError, read_member
from sfbench.api.errors import DataError, first_line
from sfbench.api.image_files import open_image
from sfbench.api.regular_files import check_regular

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".pnm"}
)
LABELS_FILE = "dataset.json"
CACHES = frozenset({"__MACOSX", "@eaDir"})
"""Folders in which systems keep copies and thumbnails of images."""
MOST_CLASSES = 65_536
LABEL_FLOOR, LABEL_BYTES = 1 << 20, 4096
"""Most bytes of dataset.json: a mebibyte, and so much for each image."""
ORIENTATION, OPAQUE = 0x0112, 255
TURNED = "turned upright by its EXIF orientation"
FRAMES = "animated or of several pages: the first is used"
DEEP_GRAY = frozenset({"I;16", "I;16L", "I;16B", "I;16N", "I"})
RESIZE = "Pillow Lanczos on uint8, after a center crop to a square"


class ReadImage(NamedTuple):
    """Pixels, uint8 [height, width, 3], and a note of the conversion that was needed, or None.

    `stored`: the image as packages read it that only let Pillow convert it to RGB, where that gives
    other pixels: not turned by its EXIF orientation, 16-bit gray clipped; None where it does not.
    """

    pixels: np.ndarray
    note: str | None
    stored: ReadImage | None = None


class ImageCollection:
    """The images of a folder (with subfolders) or a zip file, sorted by name.

    Hidden and cache folders and files (a name that begins with a dot, __MACOSX, @eaDir) are left out;
    linked folders are followed. What is beside the images is counted in `others` (files that are no
    images, by name), `hidden` (images left out) and `empty` (folders without a file); of
    dataset.json, `unmatched` (names of no image) and `unlabeled` (images it does not name). Raises
    DataError when the path does not exist, is neither folder nor zip, holds no image, or two of one
    name.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            msg = f"{path}: no such file or folder; expected a zip file or folder of images"
            raise DataError(msg)
        try:
            check_regular(path)
        except OSError as error:
            msg = f"{path}: {first_line(error)}"
            raise DataError(msg) from None
        if path.is_file() and not zipfile.is_zipfile(path):
            msg = (
                f"{path}: neither a zip file nor a folder; expected one of them with images inside"
            )
            raise DataError(msg)
        self.path = path
        try:
            self.archive = None if path.is_dir() else zipfile.ZipFile(path)
        except (OSError, *DAMAGE) as error:
            msg = f"{path}: a damaged zip file ({error})"
            raise DataError(msg) from None
        names = sorted(self._all_names())
        twice = [name for name, after in itertools.pairwise(names) if name == after]
        if twice:
            msg = f"{path}: {twice.count(twice[0]) + 1} entries are named {twice[0]}; expected one each"
            raise DataError(msg)
        seen = [name for name in names if not is_hidden(name)]
        self.names = [name for name in seen if is_image_name(name)]
        self.hidden = [name for name in names if is_hidden(name) and is_image_name(name)]
        labels_file = labels_file_of(seen)
        self.others = [n for n in seen if not is_image_name(n) and n != labels_file]
        self.empty = self._empty_folders(names)
        if not self.names:
            kinds = ", ".join(sorted(SUFFIXES))
            msg = f"{path}: {len(names)} files, none of them an image ({kinds})"
            raise DataError(msg)
        self.labels_file = labels_file
        self.class_of: dict[str, int] = {}
        self.unmatched: list[str] = []
        if labels_file is not None:
            given = self._read_labels(labels_file)
            there = {name.replace("\\", "/"): name for name in self.names}
            self.class_of = {there[n]: label for n, label in given.items() if n in there}
            self.unmatched = sorted(given.keys() - there.keys())
        self.unlabeled = [n for n in self.names if n not in self.class_of] if self.class_of else []

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.names)

    def _all_names(self) -> Iterator[str]:
        if self.archive is None:
            yield from (file.relative_to(self.path).as_posix() for file in files_below(self.path))
        else:
            yield from (entry.filename for entry in self.archive.infolist() if not entry.is_dir())

    def _empty_folders(self, names: Sequence[str]) -> list[str]:
        if self.archive is None:
            folders = {
                entry.relative_to(self.path).as_posix()
                for entry in self.path.rglob("*")
                if entry.is_dir()
            }
        else:
            folders = {
                entry.filename.rstrip("/") for entry in self.archive.infolist() if entry.is_dir()
            }
        holding = {folder_of(name) for name in names}
        above = {str(parent) for folder in holding for parent in PurePosixPath(folder).parents}
        return sorted(folders - holding - above)

    def _read_labels(self, file: str) -> dict[str, int]:
        """Return the classes that a label file gives, by image; names are relative to its folder."""
        folder = folder_of(file)
        try:
            content = self.read_bytes(file, LABEL_FLOOR + LABEL_BYTES * len(self.names))
            document = json.loads(content.decode("utf-8-sig"))
            rows = document.get("labels") if isinstance(document, dict) else document
            found = label_rows(rows)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            msg = f"{self.path}: {file} is not a StyleGAN label list ({first_line(error)})"
            raise DataError(msg) from None
        return {below(folder, name): label for name, label in found.items()}

    def read_bytes(self, name: str, most: int = MEMBER_LIMIT) -> bytes:
        """Return one file's content; raises DataError for one that is damaged or over the limit."""
        try:
            if self.archive is not None:
                return read_member(self.archive, name, most)
            check_regular(self.path / name)
            size = (self.path / name).stat().st_size
            content = (self.path / name).read_bytes() if size <= most else None
        except (ArchiveError, OSError, *DAMAGE) as error:
            msg = f"{self.path}: {name} cannot be read ({first_line(error) or 'truncated'})"
            raise DataError(msg) from None
        if content is None:
            msg = f"{self.path}: {name} has {size:,} bytes; expected at most {most:,}"
            raise DataError(msg)
        return content

    def read(self, index: int, size: tuple[int, int] | None = None) -> ReadImage:
        """Return image `index` as uint8 RGB, and what had to be done to it.

        With a size (height, width), an image of another size is cropped to its proportions around
        the center, and resized.

        Raises DataError in one line for a file that is damaged or not an image.
        """
        name = self.names[index]
        try:
            return read_rgb(open_image(self.read_bytes(name)), size)
        except DataError:
            raise
        except Exception as error:  # noqa: BLE001  # strange metadata and members raise anything
            msg = f"{self.path}: {name} cannot be read as an image ({first_line(error)})"
            raise DataError(msg) from None

    def label(self, index: int) -> int | None:
        """Return the class number of image `index` from dataset.json, or None."""
        return self.class_of.get(self.names[index])

    def sha256(self) -> str:
        """Return a digest of the images: of names and contents, or of the zip file itself."""
        if self.archive is not None:
            with self.path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256()
        # Classes decide what is learned, and what is compared class by class.
        for name in [
            *self.names,
            *([self.labels_file] if self.labels_file and self.class_of else []),
        ]:
            try:
                check_regular(self.path / name)
                with (self.path / name).open("rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                content = f"unreadable: {error.strerror}"
            digest.update(f"{name}\0{content}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()


def read_rgb(opened: Image.Image, size: tuple[int, int] | None) -> ReadImage:
    """Return an image as uint8 RGB, upright by its EXIF orientation, and what had to be done to it.

    With a size (height, width), an image of another size is cropped to its proportions around the
    center, and resized.
    """
    image, told = upright(opened)
    rgb, note = to_rgb(image)
    turned = told == TURNED
    stored = None
    if turned or opened.mode in DEEP_GRAY:
        words = "EXIF orientation ignored" if turned else "16-bit gray clipped to 8 bits"
        stored = ReadImage(sized(opened.convert("RGB"), size), words)
    return ReadImage(sized(rgb, size), told or note, stored)


def upright(opened: Image.Image) -> tuple[Image.Image, str | None]:
    """Return an image turned by its EXIF orientation, and a note; of several frames the first."""
    from PIL import ImageOps  # slow to import

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damaged metadata, which turns nothing
        turned = opened.getexif().get(ORIENTATION, 1) != 1
        image = ImageOps.exif_transpose(opened)
    if turned:
        return image, TURNED
    return image, FRAMES if getattr(opened, "n_frames", 1) > 1 else None


def sized(rgb: Image.Image, size: tuple[int, int] | None) -> np.ndarray:
    """Return the pixels of an image, cropped and resized if it has another height or width."""
    from PIL import Image  # slow to import

    if size is not None and rgb.size != size[::-1]:
        # Cropped first: when resizing with a box, the filter would read pixels outside it.
        height, width = size
        across = min(rgb.width, rgb.height * width // height)
        down = min(rgb.height, rgb.width * height // width)
        left, top = (rgb.width - across) // 2, (rgb.height - down) // 2
        part = rgb.crop((left, top, left + across, top + down))
        rgb = part.resize((width, height), Image.Resampling.LANCZOS)
    return np_array(rgb)


def is_image_name(name: str) -> bool:
    """Return whether a file is taken for an image: by its extension."""
    base = name.rstrip("/").rpartition("/")[2]
    stem, dot, extension = base.rpartition(".")
    return bool(stem) and f"{dot}{extension}".lower() in SUFFIXES


def is_hidden(name: str) -> bool:
    """Return whether a file lies in a hidden or cache folder, or is hidden itself."""
    parts = name.split("/")
    return any((part[:1] == "." and part not in {".", ".."}) or part in CACHES for part in parts)


def normal(name: str) -> str:
    """Return a name within a folder or archive without doubled slashes and steps to itself.

    `PurePosixPath` does the same, fifty times as slowly: names that need it are rare.
    """
    odd = "//" in name or "/./" in name or name.startswith("./") or name.endswith(("/", "/."))
    return str(PurePosixPath(name)) if odd or not name else name


def folder_of(name: str) -> str:
    """Return the folder of a name; "." for the top."""
    folder, slash, _ = normal(name).rpartition("/")
    return folder or slash or "."


def below(folder: str, name: str) -> str:
    """Return the name of a file from the top that is named from a folder."""
    inside = folder != "." and not name.startswith("/")
    return normal(f"{folder}/{name}" if inside else name)


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder; linked folders are followed, each once.

    A link that leads nowhere is a file: it is named when it is read, not skipped.
    """
    seen = {folder.resolve()}
    for place, folders, files in os.walk(folder, followlinks=True):
        yield from (Path(place) / name for name in files)
        kept = []
        for name in folders:
            real = (Path(place) / name).resolve()
            if real not in seen:
                seen.add(real)
                kept.append(name)
        folders[:] = kept


def labels_file_of(names: Sequence[str]) -> str | None:
    """Return the label file: at the top, or in the one top folder that holds everything."""
    if LABELS_FILE in names:
        return LABELS_FILE
    tops = {normal(name).partition("/")[0] for name in names}
    inside = f"{next(iter(tops))}/{LABELS_FILE}" if len(tops) == 1 else ""
    return inside if inside in names else None


def label_rows(rows: Any) -> dict[str, int]:
    """Return the classes of a label list: [[name, class], ...], {name: class}, or nothing.

    Names may be written with backslashes, or begin with "./". Raises ValueError for classes that
    are no numbers from 0, and for two of one image.
    """
    pairs = rows.items() if isinstance(rows, dict) else rows or []
    found: dict[str, int] = {}
    for name, label in pairs:
        number = int(label) if isinstance(label, int | float) and label == label // 1 else -1
        if isinstance(label, bool) or not 0 <= number < MOST_CLASSES:
            msg = f"class {label!r:.40} of {name!r:.60}; expected a number from 0 to {MOST_CLASSES - 1}"
            raise ValueError(msg)
        key = str(PurePosixPath(str(name).replace("\\", "/")))
        if found.setdefault(key, number) != number:
            msg = f"two classes of {name!r:.60}: {found[key]} and {number}"
            raise ValueError(msg)
    return found


def np_array(image: Image.Image) -> np.ndarray:
    """Return the image's pixels."""
    import numpy as np  # slow to import

    # A copy: Pillow's array is read-only, and torch requires a writable one.
    return np.array(image)


def to_rgb(image: Image.Image) -> tuple[Image.Image, str | None]:
    """Return an 8-bit RGB image, and a note of any conversion that may matter.

    Transparency is dropped, not composed onto a color, as every metrics package does.
    """
    if image.mode in DEEP_GRAY:
        import numpy as np  # slow to import
        from PIL import Image as Pillow  # slow to import

        levels = np.asarray(image).astype(np.int64)
        bytes_ = np.rint(levels.clip(0, 65535) / 257).astype(np.uint8)
        return Pillow.fromarray(bytes_).convert("RGB"), "16-bit gray reduced to 8 bits"
    if image.mode == "F":
        msg = "floating-point pixels have no agreed range; expected 8-bit or 16-bit"
        raise ValueError(msg)
    note = NOTES.get(image.mode)
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        opaque = image.convert("RGBA").getchannel("A").getextrema()[0] == OPAQUE
        note = note if opaque else "transparency dropped"
    return image.convert("RGB"), note


NOTES = {
    "L": "gray, repeated in three channels",
    "1": "black and white, repeated in three channels",
    "P": "palette, expanded",
    "CMYK": "CMYK, converted",
    "YCbCr": "YCbCr, converted",
    "LAB": "Lab, converted",
    "HSV": "HSV, converted",
}
