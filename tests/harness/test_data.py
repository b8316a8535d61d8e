from __future__ import annotations

import io
import json
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sfbench.api.errors import DataError, UsageError
from sfbench.api.images import ImageCollection
from sfbench.data.containers import open_container
from sfbench.data.sources import locate, open_dataset
from sfbench.values.sizes import square

pytestmark = pytest.mark.fast


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def solid(mode: str, color: object, size: tuple[int, int] = (8, 8)) -> bytes:
    return png(Image.new(mode, size, color))


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
    dataset = open_dataset(locate(str(archive)), square(8))
    assert len(dataset) == 6
    assert dataset.labels(range(6)) == [0, 0, 0, 1, 1, 1]
    images = [dataset.read(index).pixels for index in range(6)]
    assert [int(image[0, 0, 0]) for image in images] == [0, 80, 160, 40, 120, 200]
    assert images[0].shape == (3, 8, 8)


def test_a_folder_and_a_zip_of_the_same_images_give_the_same_bytes(
    archive: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(archive) as file:
        file.extractall(tmp_path / "folder")
    first = open_dataset(locate(str(archive)), square(8))
    second = open_dataset(locate(str(tmp_path / "folder")), square(8))
    assert all(torch.equal(first.read(i).pixels, second.read(i).pixels) for i in range(6))


def test_another_size_is_cropped_to_a_square_and_resized(tmp_path: Path) -> None:
    wide = Image.new("RGB", (30, 10), (0, 0, 255))
    wide.paste((255, 0, 0), (10, 0, 20, 10))
    (tmp_path / "a.png").write_bytes(png(wide))
    dataset = open_dataset(locate(str(tmp_path)), square(20))
    image = dataset.read(0).pixels
    assert image[0].float().mean() > 250
    assert "Lanczos" in dataset.identity["resize"]


@pytest.mark.parametrize(
    ("mode", "color", "suffix", "expected", "note"),
    [
        ("L", 90, "png", 90, "gray"),
        ("1", 1, "png", 255, "black and white"),
        ("CMYK", (0, 0, 0, 165), "tif", 90, "CMYK"),
        ("RGBA", (90, 90, 90, 4), "png", 90, "transparency dropped"),
        ("LA", (90, 2), "png", 90, "transparency dropped"),
        ("I;16", 90 * 257, "png", 90, "16-bit gray reduced"),
    ],
)
def test_other_kinds_of_images_become_rgb_and_say_what_was_done(
    mode: str, color: object, suffix: str, expected: int, note: str, tmp_path: Path
) -> None:
    Image.new(mode, (4, 4), color).save(tmp_path / f"x.{suffix}")
    pixels, found, _ = ImageCollection(tmp_path).read(0)
    assert pixels.shape == (4, 4, 3)
    assert np.unique(pixels).tolist() == [expected]
    assert found is not None
    assert note in found


def test_a_palette_with_a_transparent_entry_says_that_transparency_is_dropped(
    tmp_path: Path,
) -> None:
    Image.new("P", (4, 4), 0).save(tmp_path / "x.png", transparency=0)
    assert ImageCollection(tmp_path).read(0).note == "transparency dropped"


def test_images_keep_their_size_where_no_resolution_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(solid("RGB", (1, 2, 3), (5, 9)))
    assert open_dataset(locate(str(tmp_path)), None).read(0).pixels.shape == (3, 9, 5)


def test_what_lies_beside_the_images_is_told(tmp_path: Path) -> None:
    (tmp_path / "cats").mkdir()
    (tmp_path / "dogs").mkdir()
    (tmp_path / "cats" / "a.png").write_bytes(solid("RGB", (1, 2, 3)))
    (tmp_path / "cats" / "._a.png").write_bytes(b"resource fork")
    (tmp_path / "notes.txt").write_text("x")
    images = ImageCollection(tmp_path)
    assert images.names == ["cats/a.png"]
    assert images.others == ["notes.txt"]
    assert images.hidden == ["cats/._a.png"]
    assert images.empty == ["dogs"]


@pytest.mark.parametrize(
    "name", ["ein Bild + ü.PNG", "../up.png", "/root.png", "a\\b.png", "x" * 200 + ".png"]
)
def test_odd_names_in_a_zip_are_read(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "odd.zip", "w") as file:
        file.writestr(name, solid("RGB", (7, 8, 9)))
    images = ImageCollection(tmp_path / "odd.zip")
    assert len(images) == 1
    assert images.read(0).pixels[0, 0].tolist() == [7, 8, 9]


def test_array_files_of_images_are_read(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", pixels, np.array([2, 0, 1]))
    np.save(tmp_path / "a.npy", pixels)
    for name in ("a.npz", "a.npy"):
        dataset = open_dataset(locate(str(tmp_path / name)), None)
        assert np.array_equal(dataset.read(1).pixels.permute(1, 2, 0).numpy(), pixels[1])
    assert open_dataset(locate(str(tmp_path / "a.npz")), None).labels(range(3)) == [2, 0, 1]


@pytest.mark.parametrize(
    ("arrays", "found"),
    [
        (
            {"other": np.zeros(3)},
            r"holds other; expected images \(arr_0\), or statistics \(mu and sigma\)",
        ),
        ({"arr_0": np.zeros((2, 4, 4, 3), np.float32)}, "float32"),
        ({"arr_0": np.zeros((2, 6, 6, 5), np.uint8)}, "1, 3 or 4 channels"),
        ({"arr_0": np.array([{}], dtype=object)}, "cannot be read|pickle"),
    ],
)
def test_array_files_of_something_else_are_refused_in_one_line(
    arrays: dict[str, np.ndarray], found: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises((DataError, ValueError), match=found):
        open_dataset(locate(str(tmp_path / "a.npz")), None)


def test_what_holds_no_images_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a file or folder"):
        locate(str(tmp_path / "missing"))
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(DataError, match="1 files, none of them an image"):
        locate(str(tmp_path))
    with pytest.raises(DataError, match="unknown or damaged; expected a folder or zip of images"):
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


def folder_of(path: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(solid("RGB", (number, number, number)))
    return path


NAMES = tuple(f"00000/img{index}.png" for index in range(4))


@pytest.mark.parametrize(
    "rows",
    [
        [[name, index % 2] for index, name in enumerate(NAMES)],
        [[name.replace("/", "\\"), index % 2] for index, name in enumerate(NAMES)],
        [["./" + name, float(index % 2)] for index, name in enumerate(NAMES)],
        {name: index % 2 for index, name in enumerate(NAMES)},
    ],
)
@pytest.mark.parametrize("top", ["", "mydata/"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_labels_are_read_as_people_write_them(
    rows: object, top: str, encoding: str, tmp_path: Path
) -> None:
    folder_of(tmp_path, *(top + name for name in NAMES))
    text = json.dumps({"labels": rows})
    (tmp_path / top / "dataset.json").write_text(text, encoding=encoding)
    container = open_container(tmp_path)[1]
    assert container.labels() == [0, 1, 0, 1]
    assert not any(found.count for found in container.beside().values())


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([[NAMES[0], "cat"]], "class 'cat' of '00000/img0.png'; expected a number from 0"),
        ([[NAMES[0], [0, 1]]], r"class \[0, 1\]"),
        ([[NAMES[0], -1]], "class -1"),
        ([[NAMES[0], 10**6]], "class 1000000"),
        ([[NAMES[0], 1.5]], "class 1.5"),
        ([[NAMES[0], True]], "class True"),
        ([[NAMES[0], 0], [NAMES[0], 1]], "two classes of '00000/img0.png': 0 and 1"),
        ([1], "cannot unpack|is not a StyleGAN label list"),
    ],
)
def test_labels_that_are_no_classes_are_refused_in_one_line(
    rows: object, words: str, tmp_path: Path
) -> None:
    folder_of(tmp_path, *NAMES)
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": rows}))
    with pytest.raises(DataError, match=words) as caught:
        open_container(tmp_path)
    assert "\n" not in str(caught.value)


def test_labels_that_match_nothing_or_only_some_are_told(tmp_path: Path) -> None:
    folder_of(tmp_path, *NAMES)
    file = tmp_path / "dataset.json"
    file.write_text(json.dumps({"labels": [[name.split("/")[1], 0] for name in NAMES]}))
    told = open_container(tmp_path)[1].beside()
    assert told["names in dataset.json are of no image"].count == 4
    file.write_text(json.dumps({"labels": [[name, 1] for name in NAMES[:3]]}))
    told = open_container(tmp_path)[1].beside()
    assert told["images have no class in dataset.json: no classes are used"].shown == [NAMES[3]]
    file.write_text(json.dumps({"labels": None}))
    assert not any(found.count for found in open_container(tmp_path)[1].beside().values())


def test_corrected_labels_are_other_images(tmp_path: Path) -> None:
    folder_of(tmp_path, *NAMES)
    before = locate(str(tmp_path)).sha256
    file = tmp_path / "dataset.json"
    file.write_text(json.dumps({"labels": [[name, 0] for name in NAMES]}))
    first = locate(str(tmp_path)).sha256
    file.write_text(json.dumps({"labels": [[name, 1] for name in NAMES]}))
    assert len({before, first, locate(str(tmp_path)).sha256}) == 3
    file.write_text(json.dumps({"labels": []}))
    assert locate(str(tmp_path)).sha256 == before


def test_hidden_and_cache_folders_are_left_out_and_counted_and_links_are_followed(
    tmp_path: Path,
) -> None:
    kept = ("a/0.png", "b.png")
    left = (
        ".hidden.png",
        ".ipynb_checkpoints/1.png",
        "@eaDir/2.png",
        ".thumbnails/x/3.png",
        "__MACOSX/._4.png",
    )
    folder_of(tmp_path / "images", *kept, *left)
    folder_of(tmp_path / "elsewhere", "5.png")
    (tmp_path / "images" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "images" / "circle").symlink_to(tmp_path / "images")
    (tmp_path / "images" / "gone.png").symlink_to(tmp_path / "nowhere")
    images = ImageCollection(tmp_path / "images")
    assert images.names == ["a/0.png", "b.png", "gone.png", "linked/5.png"]
    assert images.hidden == sorted(left)
    told = open_container(tmp_path / "images")[1].beside()
    assert told["images in hidden or cache folders are left out"].count == 5


def test_a_zip_with_two_entries_of_one_name_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for content in (b"1", b"2", b"3"):
            archive.writestr("a.png", content)
    with pytest.raises(DataError, match=r"x\.zip: 3 entries are named a\.png; expected one each"):
        ImageCollection(tmp_path / "x.zip")
