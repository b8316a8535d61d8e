"""Opening image files: the only place where a file's bytes are passed to a decoder.

Pillow chooses a decoder by content, and some hand the file to another program (PostScript to
Ghostscript). Here only formats that are decoded in this process are tried. An image is refused
before it is decoded where its pixels would take more than `PIXEL_FACTOR` times the file's size and
more than `PIXEL_FLOOR` bytes, or where it has more than `MOST_PIXELS` pixels.
"""

from __future__ import annotations

import io
import struct
import warnings
from typing import TYPE_CHECKING

from sfbench.api.errors import first_line

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "PPM")
MOST_PIXELS = 89_000_000
PIXEL_FLOOR = 128 << 20
PIXEL_FACTOR = 4096
CHANNELS = 4
TILE_TAGS = (322, 323)
WEBP_HEADER_BYTES = 30
WEBP_SIDE = (1 << 14) - 1


class ImageFileError(ValueError):
    """A file that is not an image, is damaged, or would take too much memory."""


def open_image(content: bytes) -> Image.Image:
    """Return the image with its pixels decoded, in the mode that the file has.

    Raises ImageFileError in one line for a file that is truncated, damaged, not in one of the
    formats in `FORMATS`, or too large.
    """
    from PIL import Image, UnidentifiedImageError  # slow to import

    try:
        check_size(*webp_size(content), len(content))
        with warnings.catch_warnings():
            # Pillow's warnings about pixels are checked here; the rest concern metadata.
            warnings.simplefilter("ignore")
            # Pillow may read pixels of a truncated file without an error: verify checksums first.
            with Image.open(io.BytesIO(content), formats=FORMATS) as file:
                check_size(*file.size, len(content))
                check_size(*tile_size(file), len(content))
                file.verify()
            with Image.open(io.BytesIO(content), formats=FORMATS) as file:
                file.load()
                return file
    except ImageFileError:
        raise
    except UnidentifiedImageError:
        msg = f"not an image in a known format ({', '.join(FORMATS)}), or truncated"
        raise ImageFileError(msg) from None
    except Exception as error:  # noqa: BLE001  # decoders of strange files raise anything
        raise ImageFileError(first_line(error)) from None


def check_size(width: int, height: int, file_bytes: int) -> None:
    """Raise ImageFileError for an image that needs more memory than its file size allows."""
    pixels = width * height
    if pixels > MOST_PIXELS or pixels * CHANNELS > max(PIXEL_FLOOR, PIXEL_FACTOR * file_bytes):
        msg = f"{width}x{height} pixels in a file of {file_bytes:,} bytes: too large to be decoded"
        raise ImageFileError(msg)


def tile_size(file: Image.Image) -> tuple[int, int]:
    """Return the sides of a TIFF's tiles, (0, 0) for other files: a whole tile is allocated."""
    tags = getattr(file, "tag_v2", {})
    width, length = (tags.get(tag, 0) for tag in TILE_TAGS)
    return (width, length) if type(width) is type(length) is int else (0, 0)


def webp_size(content: bytes) -> tuple[int, int]:
    """Return width and height of a WebP file, (0, 0) for any other: its decoder allocates at once."""
    head = content[:WEBP_HEADER_BYTES]
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP" or len(head) < WEBP_HEADER_BYTES:
        return 0, 0
    match head[12:16]:
        case b"VP8X":
            width, height = (int.from_bytes(head[i : i + 3], "little") for i in (24, 27))
            return width + 1, height + 1
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", head, 21)
            return (bits & WEBP_SIDE) + 1, (bits >> 14 & WEBP_SIDE) + 1
        case _:
            width, height = struct.unpack_from("<HH", head, 26)
            return width & WEBP_SIDE, height & WEBP_SIDE
