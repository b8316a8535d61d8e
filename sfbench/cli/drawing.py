"""Behind `sfbench sample` and `sfbench inspect`: one model, some seeds, pictures."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from sfbench.api.errors import DataError, UsageError
from sfbench.catalogue.registry import find_generator
from sfbench.cli import defaults, sound
from sfbench.cli.exits import Exit
from sfbench.cli.one_case import one_case
from sfbench.cli.progress import PassProgress
from sfbench.generators.loading import load_plugins
from sfbench.values.case import Request, weights_words
from sfbench.values.messages import counted
from sfbench.values.plan import parse_seeds

FEWEST_SEEDS, MOST_SEEDS = 2, 64


def grid(
    request: Request, seeds: str, output: Path, given: Sequence[str], disabled: Sequence[str]
) -> str:
    """Write the picture and return what was written."""
    numbers = parse_seeds(seeds)
    sound.note_clashes(weights=request.weights)
    catalogue = defaults.catalogue(given, disabled)
    case = one_case(request, catalogue, "sample")
    if output.suffix.lower() != ".png":
        msg = f"{output}: expected a file name that ends in .png"
        raise UsageError(msg)
    if not output.parent.is_dir():
        msg = f"{output}: folder {output.parent} does not exist"
        raise DataError(msg)
    plugins, _ = load_plugins(catalogue.owners(case.model), given, disabled)
    _, spec = find_generator(plugins, case.model)
    from sfbench.inspection.sampling import draw_grid  # torch comes with it

    draw_grid(spec, case, numbers, output)
    count = counted(len(numbers), "image")
    return f"{output}: {count}, {case.title()}, {weights_words(case.weights.kind)}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What to inspect; without `data`, no nearest real images are shown."""

    request: Request
    seeds: str
    data: str | None
    store: Path
    plugins: tuple[str, ...]
    disabled: tuple[str, ...]


def inspect(look: Look, *, as_json: bool) -> Exit:
    """Draw every picture of a model into its album, printing each path as it is written."""
    seeds = parse_seeds(look.seeds)
    if not FEWEST_SEEDS <= len(seeds) <= MOST_SEEDS:
        msg = f"--seeds {look.seeds}: expected {FEWEST_SEEDS} to {MOST_SEEDS} seeds"
        raise UsageError(msg)
    request = dataclasses.replace(look.request, measure="quality" if look.data else "memory")
    if look.data:
        request = dataclasses.replace(request, data=look.data)
    catalogue = defaults.catalogue(look.plugins, look.disabled)
    case = one_case(request, catalogue, "inspect")
    look.store.mkdir(parents=True, exist_ok=True)
    names = catalogue.owners(case.model, case.extractor.kind)
    plugins, _ = load_plugins(names, look.plugins, look.disabled)
    _, spec = find_generator(plugins, case.model)
    from sfbench.inspection.portraits import Sitting, portraits  # torch comes with it

    sitting = Sitting(
        spec=spec,
        case=case,
        plugins=plugins,
        store=look.store,
        features=defaults.cache_folder() / "features",
        seeds=seeds,
        real=look.data is not None,
        how={"code": catalogue.model(case.model).code_sha256},
    )
    progress = PassProgress(sys.stderr, live=sys.stderr.isatty(), quiet=False)
    found: dict[str, Path | str] = {}
    print(f"{case.title()}, {weights_words(case.weights.kind)}", file=sys.stderr)
    try:
        for kind, result in portraits(sitting, progress):
            found[kind] = result
            told = result if isinstance(result, Path) else f"none: {result}"
            if not as_json:
                print(f"{kind:<17} {told}", flush=True)
    except KeyboardInterrupt:
        print("interrupted: the pictures listed above were saved", file=sys.stderr)
        return Exit.INTERRUPTED
    if as_json:
        parts = {
            kind: {"file": str(one)} if isinstance(one, Path) else {"file": None, "reason": one}
            for kind, one in found.items()
        }
        print(json.dumps(parts, indent=1))
    return Exit.OK
