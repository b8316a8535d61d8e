"""Pictures of albums as embedded in a page: small files inside its text."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from PIL import Image

from sfbench.api.image_files import open_image
from sfbench.store.album import Album, Shown
from sfbench.values.sizes import size_of

Options = Mapping[str, Mapping[str, Any]]
"""The default options of each model."""
BUDGET = 1_400_000
"""Most bytes of all pictures on a page, as text; further ones are listed but left out."""
LARGEST = 32 << 20
"""Bytes of a picture's file."""
MOST_WIDE = 1100
LEAST_TALL = 64
QUALITY = 82


def gallery(albums: Sequence[Album], options: Options) -> dict[str, Any]:
    """Return samples of every album first, then the other pictures album by album.

    Pictures become lossless WebP if that is small, else lossy; those beyond the budget are
    listed by name.
    """
    names = [f"{album.subject['model']}{described(album.subject, options)}" for album in albums]
    left = BUDGET
    found: dict[tuple[int, str], dict[str, Any]] = {}
    missing = []
    for index, one in ordered(albums):
        picture = encoded(one, names[index], albums[index].subject, options)
        if picture is None or len(picture["source"]) > left:
            why = "cannot be read" if picture is None else "the page is full"
            missing.append(f"{names[index]}: {one.kind} is left out ({why})")
            continue
        left -= len(picture["source"])
        found[index, one.kind] = picture
    samples = [picture for (_, kind), picture in found.items() if kind == "samples"]
    looks = [
        {
            "subject": names[index],
            "pictures": [p for (i, k), p in found.items() if i == index and k != "samples"],
        }
        for index, album in enumerate(albums)
    ]
    return {
        "samples": samples,
        "looks": [look for look in looks if look["pictures"]],
        "left_out": missing,
    }


def ordered(albums: Sequence[Album]) -> Iterator[tuple[int, Shown]]:
    """Yield samples of all albums, then every other picture, with the number of its album."""
    pairs = [(index, one) for index, album in enumerate(albums) for one in album.pictures]
    yield from (pair for pair in pairs if pair[1].kind == "samples")
    yield from (pair for pair in pairs if pair[1].kind != "samples")


def described(subject: Mapping[str, Any], options: Options) -> str:
    """Return what the pictures show, after the model's name: size, weights, and other options."""
    weights = subject.get("weights")
    told = f"weights {weights[:8]}" if weights else f"random weights, seed {subject.get('seed')}"
    plain = options.get(subject["model"], {})
    own = {
        k: v
        for k, v in subject["options"].items()
        if v is not None and v != plain.get(k) and v != weights
    }
    preset = own.pop("preset", None)
    size = f" {preset}" if preset else ""
    more = "".join(f", {name}={str(value)[:24]}" for name, value in sorted(own.items()))
    return f"{size}, {size_of(subject)} px, {told}{more}"


def encoded(
    shown: Shown, name: str, subject: Mapping[str, Any], options: Options
) -> dict[str, Any] | None:
    """Return a picture as a data URI; None for a file that is not an image."""
    try:
        if shown.path.stat().st_size > LARGEST:
            return None
        picture = open_image(shown.path.read_bytes()).convert("RGB")
    except (OSError, ValueError):
        return None
    if picture.width > MOST_WIDE:
        height = round(picture.height * MOST_WIDE / picture.width)
        picture = picture.resize((MOST_WIDE, height), Image.Resampling.LANCZOS)
    data = smallest(picture)
    factor = max(1, -(-LEAST_TALL // picture.height))
    return {
        "kind": shown.kind,
        "subject": name,
        "model": str(subject["model"]),
        "about": described(subject, options).strip(", "),
        "caption": shown.caption,
        "width": picture.width * factor,
        "height": picture.height * factor,
        "source": f"data:image/webp;base64,{base64.b64encode(data).decode()}",
    }


def smallest(picture: Image.Image) -> bytes:
    """Return the picture as WebP: lossless unless over twice the size of a good lossy copy."""
    forms = []
    for options in ({"lossless": True}, {"quality": QUALITY}):
        buffer = io.BytesIO()
        picture.save(buffer, "WEBP", method=4, **options)
        forms.append(buffer.getvalue())
    exact, near = forms
    return exact if len(exact) <= 2 * len(near) else near
