"""Behind `sfbench check`: the contract suite for one model or for every model of a file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from sfbench.api.errors import PluginError, UsageError
from sfbench.api.spec import GeneratorSpec, OptionValue
from sfbench.catalogue.registry import (
    BY_HAND,
    Plugin,
    find_generator,
    load_plugin,
    plugin_sources,
)
from sfbench.cli import defaults, sound
from sfbench.cli.exits import Exit
from sfbench.generators.loading import load_plugins


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What to check, as given: a model's name, a reference KIND:PATH, or a plugin's file."""

    name: str
    resolution: int | None
    options: tuple[str, ...]
    weights: Path | None
    plugins: tuple[str, ...]
    trusted: bool


def check(target: Target, *, as_json: bool) -> Exit:
    """Print the results; 0 when every point holds, 1 otherwise."""
    name, resolution, weights = target.name, target.resolution, target.weights
    bound: Mapping[str, str] = {}
    file = name.endswith(".py")
    if file:
        sound.check_file(Path(name), "a plugin's file, or the name of a model")
    else:
        model = defaults.catalogue(target.plugins, []).model(name)
        model.check_usable(trusted=target.trusted)
        bound = model.bound
    from sfbench.testing import check_generator  # torch comes with it

    specs = list(from_file(name).generators) if file else [spec_of(target)]
    if not specs:
        msg = (
            f"{name}: offers no generator to check; extractors are checked by "
            "sfbench.testing.check_extractor"
        )
        raise UsageError(msg)
    if weights is not None and len(specs) > 1:
        msg = f"--weights {weights}: {name} has {len(specs)} models; name one, with --plugin {name}"
        raise UsageError(msg)
    results = {}
    for spec in specs:
        if resolution is not None and spec.resolutions and resolution not in spec.resolutions:
            sides = ", ".join(map(str, spec.resolutions))
            msg = f"model {spec.name} does not support {resolution} px; expected {sides}"
            raise UsageError(msg)
        given = [*target.options, *(f"{key}={value}" for key, value in bound.items())]
        results[name if bound else spec.name] = check_generator(
            spec, resolution=resolution, options=parsed(spec, given), weights=weights
        )
    if as_json:
        document = {n: [dataclasses.asdict(r) for r in found] for n, found in results.items()}
        print(json.dumps(document, indent=1))
    else:
        for name, found in results.items():
            print(name)
            for result in found:
                mark = "ok    " if result.passed else "FAILED"
                print(f"  {mark} {result.name:<24} {result.detail} ({result.seconds:.1f} s)")
    passed = all(result.passed for found in results.values() for result in found)
    return Exit.OK if passed else Exit.SOME_FAILED


def parsed(spec: GeneratorSpec, options: Sequence[str]) -> dict[str, OptionValue]:
    """Return the options given as NAME=VALUE; raises UsageError for an unknown one."""
    known = {option.name: option for option in spec.options}
    values: dict[str, OptionValue] = {}
    for text in options:
        name, _, value = text.partition("=")
        if name not in known:
            msg = f"model {spec.name} has no option {name}; it has {', '.join(known) or 'none'}"
            raise UsageError(msg)
        values[name] = known[name].parse(value)
    return values


def spec_of(target: Target) -> GeneratorSpec:
    """Return the spec of the named model."""
    owners = defaults.catalogue(target.plugins, []).owners(target.name)
    plugins, _ = load_plugins(owners, target.plugins, [])
    return find_generator(plugins, target.name)[1]


def from_file(target: str) -> Plugin:
    """Return the plugin in a file; raises PluginError when it is broken."""
    path = str(Path(target))
    for entry in defaults.catalogue([path], []).plugins:
        if entry.problem and entry.origin == BY_HAND:
            msg = f"plugin {target} is broken: {entry.problem}"
            raise PluginError(msg)
    source = next(s for s in plugin_sources([path], []) if s.target == path)
    return load_plugin(source)
