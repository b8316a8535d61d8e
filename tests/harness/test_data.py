from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfbench.api.errors import DataError, UsageError
from sfbench.api.images import ImageCollection
from sfbench.data.sources import locate, open_dataset

pytestmark = pytest.mark.fast


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def solid(mode: str, colour: object, size: tuple[int, int] = (8, 8)) -> bytes:
    return png(Image.new(mode, size, colour))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as file:
        for index in range(6):
            file.writestr(f"0000{index % 2}/img{index}.png", solid("RGB", (index * 40, 0, 0)))
        labels = [[f"0000{index % 2}/img{index}.png", index % 2] for index in range(6)]
        file.writestr("dataset.json", json.dumps({"labels": labels}))
        file.writestr("readme.txt", "not an image")
    return path


def test_a_stylegan_zip_gives_images_in_order_of_name_with_labels(archive: Path) -> None:
    dataset = open_dataset(locate(str(archive)), 8)
    assert len(dataset) == 6
    assert dataset.labels(range(6)) == [0, 0, 0, 1, 1, 1]
    pixels = next(dataset.batches(range(6), 6))
    assert pixels[:, 0, 0, 0].tolist() == [0, 80, 160, 40, 120, 200]
    assert pixels.shape == (6, 3, 8, 8)


def test_a_folder_and_a_zip_of_the_same_images_give_the_same_bytes(
    archive: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(archive) as file:
        file.extractall(tmp_path / "folder")
    first = next(open_dataset(locate(str(archive)), 8).batches(range(6), 6))
    second = next(open_dataset(locate(str(tmp_path / "folder")), 8).batches(range(6), 6))
    assert np.array_equal(first.numpy(), second.numpy())


def test_another_size_is_cropped_to_a_square_and_resized(tmp_path: Path) -> None:
    wide = Image.new("RGB", (30, 10), (0, 0, 255))
    wide.paste((255, 0, 0), (10, 0, 20, 10))
    (tmp_path / "a.png").write_bytes(png(wide))
    dataset = open_dataset(locate(str(tmp_path)), 20)
    (image,) = next(dataset.batches([0], 1))
    assert image[0].float().mean() > 250
    assert "Lanczos" in dataset.identity["resize"]


@pytest.mark.parametrize(("mode", "colour"), [("L", 90), ("1", 1), ("CMYK", (0, 0, 0, 165))])
def test_grey_palette_and_cmyk_become_rgb(mode: str, colour: object, tmp_path: Path) -> None:
    suffix = "tif" if mode == "CMYK" else "png"
    Image.new(mode, (4, 4), colour).save(tmp_path / f"x.{suffix}")
    assert ImageCollection(tmp_path).read(0, 4).shape == (4, 4, 3)


@pytest.mark.parametrize(
    ("mode", "colour"), [("RGBA", (1, 2, 3, 4)), ("LA", (1, 2)), ("I;16", 900)]
)
def test_alpha_and_16_bit_are_refused_by_name(mode: str, colour: object, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(solid(mode, colour))
    with pytest.raises(DataError, match=r"x\.png has mode .*convert it first"):
        ImageCollection(tmp_path).read(0, 4)


def test_what_holds_no_images_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a file or folder"):
        locate(str(tmp_path / "missing"))
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(DataError, match="1 files, none of them an image"):
        locate(str(tmp_path))
    with pytest.raises(DataError, match="neither a zip file nor a folder"):
        locate(str(tmp_path / "x.txt"))


def test_the_digest_of_a_folder_follows_its_content(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(solid("RGB", (1, 2, 3)))
    before = locate(str(tmp_path)).sha256
    (tmp_path / "a.png").write_bytes(solid("RGB", (1, 2, 4)))
    assert locate(str(tmp_path)).sha256 != before


def test_a_truncated_image_and_a_bad_label_file_are_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    (tmp_path / "a.png").write_bytes(png(Image.fromarray(noise))[:400])
    with pytest.raises(DataError, match=r"a\.png cannot be read as an image"):
        ImageCollection(tmp_path).read(0, 32)
    (tmp_path / "dataset.json").write_text('{"labels": 3}')
    with pytest.raises(DataError, match="not a StyleGAN label list"):
        ImageCollection(tmp_path)
