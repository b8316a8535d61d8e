"""Behind `sfbench data stats`: stored features, and reference statistics computed from them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from sfbench.api.errors import DataError, UsageError
from sfbench.cli import defaults
from sfbench.cli.bench import Asked, Bench
from sfbench.cli.exits import Exit
from sfbench.quality.protocols import read_protocol
from sfbench.values.messages import counted


def stats(asked: Asked, protocol: str, out: Path | None, *, clear: bool, as_json: bool) -> Exit:
    """Compute and store features of images and write their statistics, or list stored features."""
    if not asked.reference:
        return stored(clear=clear, as_json=as_json)
    if out is not None and out.suffix != ".npz":
        msg = f"--out {out}: expected a file name that ends in .npz"
        raise UsageError(msg)
    if out is not None and not out.parent.is_dir():
        msg = f"--out {out}: folder {out.parent} does not exist"
        raise DataError(msg)
    way = read_protocol(protocol)
    bench = Bench(asked)
    from sfbench.quality.statistics_of import image_statistics  # torch comes with it

    extractor = bench.open_extractor(asked.extractor or way.extractor)
    pictures = bench.real(str(asked.reference), "SRC")
    with bench.together():
        found = image_statistics(pictures, way, extractor, bench.forward, bench.store)
    bench.progress.clear()
    if bench.rank > 0:
        return Exit.OK
    for line in found.unreadable:
        print(f"warning: left out: {line}", file=sys.stderr)
    if out is not None:
        found.write(out)
    document = dict(found.about) | {"file": None if out is None else str(out)}
    print(json.dumps(document, indent=1) if as_json else found.told(out))
    return Exit.OK


def stored(*, clear: bool, as_json: bool) -> Exit:
    """List the stored sets of features, or remove them."""
    from sfbench.quality.feature_store import FeatureStore  # numpy comes with it

    store = FeatureStore(defaults.cache_folder() / "features")
    if clear:
        print(f"{store.clear()} sets of features removed from {store.folder}")
        return Exit.OK
    rows = store.sets()
    if as_json:
        print(json.dumps(rows, indent=1))
        return Exit.OK
    total = sum(row["bytes"] for row in rows)
    print(f"{len(rows)} sets of features, {total / 1e6:,.1f} MB, in {store.folder}")
    for row in rows:
        key = row["key"]
        size = f"{counted(row['shards'], 'shard'):>11} {row['bytes'] / 1e6:>8,.1f} MB"
        seen = f"{key['extractor']['name']}, {key['resize']}"
        print(f"  {row['folder'][:8]} {size}  {seen}: {row['name']}")
    return Exit.OK
