"""Behind `sfbench sample`: one model, some seeds, one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sfbench.api.errors import DataError, UsageError
from sfbench.cli import defaults
from sfbench.registry import find_generator, load_plugin, plugin_sources
from sfbench.run.grid import Request, make_plan


def grid(
    request: Request, seeds: str, output: Path, given: Sequence[str], disabled: Sequence[str]
) -> str:
    """Write the picture and return what was written."""
    from sfbench.sampling import draw_grid, parse_seeds

    numbers = parse_seeds(seeds)
    catalogue = defaults.catalogue(given, disabled)
    plan = make_plan(
        [request], catalogue, torch_home=defaults.torch_home(), trials=1, timeout_seconds=1
    )
    if len(plan.cases) != 1:
        msg = f"sample draws one model at one resolution; {len(plan.cases)} were asked for"
        raise UsageError(msg)
    case = plan.cases[0]
    if output.suffix.lower() != ".png":
        msg = f"{output}: the picture is a PNG; give it the ending .png"
        raise UsageError(msg)
    if not output.parent.is_dir():
        msg = f"{output}: folder {output.parent} does not exist"
        raise DataError(msg)
    plugins = [load_plugin(source) for source in plugin_sources(given, disabled)]
    _, spec = find_generator(plugins, case.model)
    draw_grid(spec, case, numbers, output)
    return f"{output}: {len(numbers)} images, {case.title()}, {case.weights.kind} weights"
