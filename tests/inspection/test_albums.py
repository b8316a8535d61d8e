"""Albums: pictures are found for what they show, and a page carries as many as it has room for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sfbench.inspection.attention import coverage, heat, marked
from sfbench.inspection.tiles import GAP, grid, table
from sfbench.report.gallery import described, gallery
from sfbench.store import album

pytestmark = pytest.mark.fast
CASE: dict[str, Any] = {
    "model": "m", "resolution": 32, "options": {"preset": "nano"}, "seed": 0, "batch": 8,
    "dtype": "fp32", "weights": {"kind": "file", "sha256": "ab" * 32},
}  # fmt: skip


def hang(store: Path, case: dict[str, Any], kind: str, picture: Image.Image) -> Path:
    folder = album.place(store, case)
    folder.mkdir(parents=True, exist_ok=True)
    picture.save(folder / f"{kind}.png")
    album.enter(folder, case, kind, f"what {kind} shows", {"seeds": [0]})
    return folder


def plain(side: int = 8) -> Image.Image:
    return Image.new("RGB", (side, side), "red")


def test_pictures_belong_to_what_makes_the_images_and_to_nothing_else(tmp_path: Path) -> None:
    hang(tmp_path, CASE, "samples", plain())
    same = [CASE | {"batch": 1}, CASE | {"seed": 5}]
    assert len(album.albums(tmp_path, [CASE, *same])) == 1
    random = {"kind": "random", "sha256": None}
    others = [
        CASE | {"model": "n"}, CASE | {"resolution": 64}, CASE | {"options": {}},
        CASE | {"weights": random}, CASE | {"weights": {"kind": "file", "sha256": "cd" * 32}},
    ]  # fmt: skip
    assert album.albums(tmp_path, others) == []
    first, second = CASE | {"weights": random}, CASE | {"weights": random, "seed": 1}
    assert album.place(tmp_path, first) != album.place(tmp_path, second)


def test_pictures_come_in_one_order_and_are_replaced_by_newer_ones(tmp_path: Path) -> None:
    for kind in ("mixing", "samples", "mixing"):
        folder = hang(tmp_path, CASE, kind, plain())
    (found,) = album.albums(tmp_path, [CASE])
    assert [one.kind for one in found.pictures] == ["samples", "mixing"]
    assert found.pictures[1].caption == "what mixing shows"
    (folder / "mixing.png").unlink()
    (found,) = album.albums(tmp_path, [CASE])
    assert [one.kind for one in found.pictures] == ["samples"]


@pytest.mark.parametrize("model", ["org/net", "../../x", "a b+c", "ü", ""])
def test_a_model_cannot_choose_where_its_album_lies(model: str, tmp_path: Path) -> None:
    folder = album.place(tmp_path, CASE | {"model": model})
    assert folder.parent == tmp_path / "pictures"
    assert re.fullmatch(r"[A-Za-z0-9._-]+-[0-9a-f]{16}", folder.name)


def test_pictures_are_named_by_what_is_not_the_default() -> None:
    subject = {
        "model": "m",
        "resolution": 32,
        "seed": 3,
        "options": {"a": 1, "b": 2, "preset": "nano"},
    }
    assert (
        described(subject, {"m": {"a": 1, "b": 1}}) == " nano, 32 px, random weights, seed 3, b=2"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"pictures": 1}',
        '{"pictures": {"samples": {}}}',
        '{"subject": 1, "pictures": {"samples": ["caption", "how"]}}',
    ],
)
def test_a_damaged_album_is_none(text: str, tmp_path: Path) -> None:
    folder = hang(tmp_path, CASE, "samples", plain())
    (folder / album.ABOUT).write_text(text)
    assert album.albums(tmp_path, [CASE]) == []


def test_a_page_has_room_for_samples_first_and_names_what_is_left_out(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (900, 1000, 3), dtype=np.uint8)
    cases = [CASE | {"resolution": side} for side in (32, 64, 128, 256)]
    for case in cases:
        hang(tmp_path, case, "mixing", Image.fromarray(noise))
        hang(tmp_path, case, "samples", plain())
    found = gallery(album.albums(tmp_path, cases), {})
    assert len(found["samples"]) == 4
    assert found["left_out"]
    assert all("mixing is left out (the page is full)" in line for line in found["left_out"])
    kept = [p for look in found["looks"] for p in look["pictures"]] + found["samples"]
    assert sum(len(picture["source"]) for picture in kept) <= 1_400_000
    assert len(kept) + len(found["left_out"]) == 8


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    folder = hang(tmp_path, CASE, "samples", plain())
    (folder / "samples.png").write_bytes(b"no picture")
    found = gallery(album.albums(tmp_path, [CASE]), {})
    assert found["samples"] == []
    assert "cannot be read" in found["left_out"][0]


def test_the_page_shows_the_pixels_of_a_small_picture_exactly(tmp_path: Path) -> None:
    import base64
    import io

    pixels = np.random.default_rng(1).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    pixels = pixels.repeat(4, axis=0).repeat(4, axis=1)
    hang(tmp_path, CASE, "samples", Image.fromarray(pixels))
    (shown,) = gallery(album.albums(tmp_path, [CASE]), {})["samples"]
    data = base64.b64decode(shown["source"].partition(",")[2])
    with Image.open(io.BytesIO(data)) as opened:
        assert np.array_equal(np.asarray(opened.convert("RGB")), pixels)
    assert json.dumps(shown)
    assert shown["height"] >= 64


def test_a_grid_holds_every_image_in_its_place() -> None:
    images = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1).expand(6, 3, 4, 4)
    found = grid(images, across=3)
    step = 4 + GAP
    assert found.shape == (2 * step - GAP, 3 * step - GAP, 3)
    assert [int(found[y * step, x * step, 0]) for y in range(2) for x in range(3)] == list(range(6))


def test_names_of_rows_and_columns_are_not_cut() -> None:
    rows = [torch.zeros(2, 3, 32, 32, dtype=torch.uint8)] * 2
    bare, named = table(rows), table(rows, ["a", "a name wider than its column"], ["row", "row 2"])
    assert named.width > bare.width
    assert named.height > bare.height
    right = np.asarray(named)[:, -1:]
    assert (right == 255).all()


def test_a_map_is_dark_at_nothing_and_yellow_at_its_most() -> None:
    values = torch.tensor([[0.0, 0.5], [0.25, 1.0]])
    found = heat(values, 8)
    assert found.shape == (1, 3, 8, 8)
    assert found[0, :, 0, 0].tolist() == [13, 8, 135]
    assert found[0, :, 7, 7].tolist() == [240, 249, 33]
    brightness = [
        found[0, :, y, x].float().mean().item() for y, x in ((0, 0), (7, 0), (0, 7), (7, 7))
    ]
    assert brightness == sorted(brightness)


def test_coverage_adds_up_to_one_a_key_and_marks_change_the_place_alone() -> None:
    cover = coverage(torch.tensor([[1.0, -3.0], [0.0, 2.0]]))
    assert cover.tolist() == [[0.25, 0.75], [0.0, 1.0]]
    image = torch.full((1, 3, 96, 96), 100, dtype=torch.uint8)
    changed = (marked(image, (0.25, 0.75)) != image).any(dim=1)[0].nonzero()
    assert changed[:, 0].float().mean().item() == pytest.approx(24, abs=1)
    assert changed[:, 1].float().mean().item() == pytest.approx(72, abs=1)
