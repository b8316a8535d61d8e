"""Names of images are taken apart as pathlib does, but faster."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from sfbench.api.images import CACHES, SUFFIXES, below, folder_of, is_hidden, is_image_name, normal

pytestmark = pytest.mark.fast
NAMES = [
    "a.png", "a/b.PNG", "a/b/c.jpeg", ".png", "a/.png", "a..png", "a.png/", "png", "a.", "a/b.", "..png",
    "./a.png", "a//b.png", "a/./b.png", "a/../b.png", "../a.png", ".hidden/a.png", "a/.b/c.png", "...",
    "__MACOSX/a.png", "x/@eaDir/a.png", "/a.png", "/a/b.png", "a b/c d.png", "ä/ö.webp", "a/.", ".", "..", "a/..",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_are_taken_apart_as_by_pathlib(name: str) -> None:
    path = PurePosixPath(name)
    parts = set(path.parts) - {".", ".."}
    assert normal(name) == str(path)
    assert folder_of(name) == str(path.parent)
    assert is_image_name(name) == (path.suffix.lower() in SUFFIXES)
    assert is_hidden(name) == any(part.startswith(".") or part in CACHES for part in parts)
    for folder in (".", "a", "a/b"):
        assert below(folder, name) == str(PurePosixPath(folder) / name)
