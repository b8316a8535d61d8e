"""Pictures of measured models, beside the records: one folder per model, weights and options.

Only files and JSON: `inspection` draws the pictures, `report` shows them.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from sfbench.store.whole_file import write_whole
from sfbench.values.documents import DocumentError, read_document
from sfbench.values.records import digest

ABOUT = "about.json"
KINDS = (
    "samples",
    "truncation",
    "interpolation",
    "mixing",
    "attention",
    "linformer-tokens",
    "components",
    "neighbors",
)
"""Names of pictures, in the order in which they are shown."""
SUBJECT = ("model", "resolution", "options")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One picture: its kind, its file, what it shows in a sentence or two, and how it was made."""

    kind: str
    path: Path
    caption: str
    how: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Album:
    """The pictures of one subject: what decides its images (see `subject_of`)."""

    subject: Mapping[str, Any]
    pictures: tuple[Shown, ...]


def subject_of(case: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a stored case that decide its images.

    The seed is that of initial weights: it is left out if weights come from a file.
    """
    weights = case["weights"]["sha256"]
    decides = {"weights": weights} if weights else {"seed": case["seed"]}
    width = {"width": case["width"]} if case.get("width") else {}
    return {name: case[name] for name in SUBJECT} | width | decides


def place(store: Path, case: Mapping[str, Any]) -> Path:
    """Return the folder of a case's pictures in a store."""
    subject = subject_of(case)
    return store / "pictures" / f"{plain(subject['model'])}-{digest(subject)[:16]}"


def plain(name: str) -> str:
    """Return a name that is safe as part of a file name, whatever a plugin calls its model."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", name).strip(".") or "model"


def enter(
    folder: Path, case: Mapping[str, Any], kind: str, caption: str, how: Mapping[str, Any]
) -> None:
    """Enter the picture `kind`.png of the folder; one of the same kind is replaced."""
    document = read(folder / ABOUT) or {"subject": subject_of(case), "pictures": {}}
    document["pictures"][kind] = {"caption": caption, "how": dict(how)}
    write_whole(folder / ABOUT, json.dumps(document, sort_keys=True, indent=1))


class Entry(TypedDict):
    """What is said of one picture."""

    caption: str
    how: dict[str, Any]


class Description(TypedDict):
    """What an album says: whose pictures it holds, and of each what it shows."""

    subject: dict[str, Any]
    pictures: dict[str, Entry]


def read(path: Path) -> Description | None:
    """Return an album's description, or None if there is no readable one."""
    try:
        return read_document(path.read_bytes(), Description)
    except (OSError, DocumentError):
        return None


def open_album(store: Path, case: Mapping[str, Any]) -> Album | None:
    """Return the pictures of a stored case, in the order of `KINDS`, or None if there are none."""
    folder = place(store, case)
    document = read(folder / ABOUT)
    if document is None:
        return None
    found = document["pictures"]
    pictures = [
        Shown(kind=kind, path=folder / f"{kind}.png", caption=str(one["caption"]), how=one["how"])
        for kind in KINDS
        if (one := found.get(kind)) and (folder / f"{kind}.png").is_file()
    ]
    return Album(subject=subject_of(case), pictures=tuple(pictures))


def albums(store: Path, cases: Sequence[Mapping[str, Any]]) -> list[Album]:
    """Return the albums of these cases, each once, in their order."""
    folders = {place(store, case): case for case in reversed(cases)}
    found = [open_album(store, case) for case in reversed(folders.values())]
    return [album for album in found if album is not None and album.pictures]
