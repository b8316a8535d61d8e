"""Behind `sfbench data build`, `info` and `preview`: images made ready for training."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from sfbench.api.errors import DataError, UsageError, printable
from sfbench.cli.beside import announce
from sfbench.cli.exits import Exit
from sfbench.cli.progress import PassProgress
from sfbench.data.prepared_folder import is_prepared
from sfbench.values.messages import counted

if TYPE_CHECKING:
    from sfbench.data.prepare import Preparation

SHOWN_REJECTED = 10
PREVIEWED = 64


def wanted(
    *,
    resolution: int,
    crop: str,
    resample: str,
    alpha: str,
    max_bad: int,
    most: int | None,
    labels: bool,
) -> Preparation:
    """Return the preparation settings; raises UsageError for an invalid value."""
    from sfbench.data.decode import Alpha, Crop, Decoding, Filter
    from sfbench.data.prepare import Preparation

    for flag, value, known in (
        ("crop", crop, Crop),
        ("filter", resample, Filter),
        ("alpha", alpha, Alpha),
    ):
        if value not in get_args(known):
            msg = f"--{flag} {value}: expected {', '.join(get_args(known))}"
            raise UsageError(msg)
    for flag, number, least in (
        ("res", resolution, 4),
        ("max-bad", max_bad, 0),
        ("subset", most, 1),
    ):
        if number is not None and number < least:
            msg = f"--{flag} {number}: expected {least} or more"
            raise UsageError(msg)
    decoding = Decoding(
        resolution=resolution,
        crop=cast("Crop", crop),
        filter=cast("Filter", resample),
        alpha=cast("Alpha", alpha),
    )
    return Preparation(decoding=decoding, max_bad=max_bad, most=most, labels=labels)


def build(source: Path, out: Path, wanted: Preparation, *, as_json: bool) -> Exit:
    """Make a folder of prepared images and say what it holds."""
    from sfbench.data.containers import open_container
    from sfbench.data.prepare import prepare

    if is_prepared(source):
        msg = f"{source}: is prepared already; give it to --data as it is"
        raise DataError(msg)
    _, container = open_container(source)
    announce(str(source), container)
    bar = PassProgress(sys.stderr, live=sys.stderr.isatty(), quiet=False)
    try:
        meta = prepare(
            container.items(),
            out,
            wanted,
            source={"name": source.name, "kind": container.title},
            total=len(container),
            progress=lambda what, done, total: bar(what, done, total or 0),
        )
    except KeyboardInterrupt:
        bar.clear()
        print(f"interrupted: {out} was not created", file=sys.stderr)
        return Exit.INTERRUPTED
    bar.clear()
    print(json.dumps(meta, indent=1) if as_json else described(out, meta))
    return Exit.OK


def info(folder: Path, *, as_json: bool) -> Exit:
    """Describe a prepared folder, and whether its pixels still match their digest."""
    from sfbench.data.prepared import PreparedImages, content_sha256

    images = PreparedImages(folder)
    labels = images.labels if len(images.labels) else None
    sound = content_sha256(images.pixels, labels) == images.sha256
    meta = {**images.meta, "sound": sound}
    print(json.dumps(meta, indent=1) if as_json else described(folder, meta))
    return Exit.OK if sound else Exit.SOME_FAILED


def described(folder: Path, meta: Mapping[str, Any]) -> str:
    """Return the description of a prepared folder, as lines."""
    source, rejected = meta["source"], meta["rejected"]
    classes = f"{meta['classes']} classes" if meta["classes"] else "no classes"
    lines = [
        f"{folder}: {counted(meta['images'], 'image')}, {meta['resolution']} px, {classes}",
        f"  from     {source['name']} ({source['kind']})",
        f"  made     crop {meta['crop']}, filter {meta['filter']}, alpha {meta['alpha']}",
        f"  sha256   {meta['sha256']}",
    ]
    if "sound" in meta:
        words = "pixels match the stored sha256" if meta["sound"] else "DAMAGED: build it again"
        lines.append(f"  check    {words}")
    lines += [f"  {counted(count, 'image')}: {note}" for note, count in meta["converted"].items()]
    left_out = (f"  left out {one['name']}: {one['reason']}" for one in rejected[:SHOWN_REJECTED])
    lines += map(printable, left_out)
    if len(rejected) > SHOWN_REJECTED:
        lines.append(f"  and {len(rejected) - SHOWN_REJECTED} more (--json lists all)")
    return "\n".join(lines)


def preview(folder: Path, output: Path) -> Exit:
    """Write a picture of the first images, and those far into the folder."""
    import numpy as np
    import torch
    from PIL import Image

    from sfbench.data.prepared import PreparedImages
    from sfbench.inspection.tiles import grid

    if output.suffix.lower() != ".png":
        msg = f"{output}: expected a file name that ends in .png"
        raise UsageError(msg)
    if not output.parent.is_dir():
        msg = f"{output}: folder {output.parent} does not exist"
        raise DataError(msg)
    images = PreparedImages(folder)
    rows = np.linspace(0, len(images) - 1, min(PREVIEWED, len(images))).astype(int)
    Image.fromarray(grid(torch.from_numpy(images.pixels[rows]))).save(output)
    print(f"{output}: {len(rows)} of {len(images):,} images")
    return Exit.OK
