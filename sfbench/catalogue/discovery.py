"""The child process behind `catalogue`: imports plugins and writes what they offer as JSON.

python -m sfbench.catalogue.discovery ANSWER.json [--plugin P]... [--no-plugin N]...
[--only N]... [--names]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sfbench.api.errors import UsageError
from sfbench.api.spec import CheckpointCard
from sfbench.catalogue.catalogue import stamp
from sfbench.catalogue.reach import Reach, tree_around
from sfbench.catalogue.registry import (
    Plugin,
    load_plugin,
    plugin_sources,
    source_file,
    source_files,
)


def main(arguments: Sequence[str]) -> None:
    """Write the answer file in one go, as the last action."""
    parser = argparse.ArgumentParser()
    parser.add_argument("answer", type=Path)
    parser.add_argument("--plugin", action="append", default=[])
    parser.add_argument("--no-plugin", action="append", default=[])
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--names", action="store_true")
    options = parser.parse_args(arguments)
    try:
        sources = plugin_sources(options.plugin, options.no_plugin)
    except UsageError as error:
        write(options.answer, {"usage": str(error)})
        return
    if options.names:
        write(options.answer, {"names": [source.name for source in sources]})
        return
    before = set(sys.modules)
    plugins = [load_plugin(s) for s in sources if not options.only or s.name in options.only]
    write(options.answer, describe(plugins, set(sys.modules) - before))


def write(path: Path, document: dict[str, Any]) -> None:
    """Write the answer."""
    path.write_text(json.dumps(document), encoding="utf-8")


def describe(plugins: Sequence[Plugin], imported: set[str]) -> dict[str, Any]:
    """Return the catalogue as JSON data, with the files that decided it."""
    # A case names its weights by digest, so shipped weights do not count as a model's code.
    cards = [path for plugin in plugins for card in plugin.checkpoints for path in files_of(card)]
    return {
        "models": [
            {
                "name": spec.name,
                "plugin": plugin.source.name,
                "summary": spec.summary,
                "resolutions": list(spec.resolutions),
                "options": [dataclasses.asdict(option) for option in spec.options],
                "license": spec.license,
                "citation": spec.citation,
                "synthesizes": spec.synthesizes,
                "trainable": spec.build_learner is not None,
                "settings": [dataclasses.asdict(setting) for setting in spec.settings],
                "presets": [dataclasses.asdict(preset) for preset in spec.presets],
                **code_of(plugin, spec.code, cards),
            }
            for plugin in plugins
            for spec in plugin.generators
        ],
        "plugins": [
            {
                "name": plugin.source.name,
                "origin": plugin.source.origin,
                "problem": plugin.problem,
                "models": [spec.name for spec in plugin.generators],
                "extractors": [spec.name for spec in plugin.extractors],
            }
            for plugin in plugins
        ],
        "extractors": [
            {
                "name": spec.name,
                "plugin": plugin.source.name,
                "summary": spec.summary,
                "weights": [dataclasses.asdict(file) for file in spec.weights],
                "variants": spec.variants,
                "license": spec.license,
                "citation": spec.citation,
                **code_of(plugin, (), cards),
            }
            for plugin in plugins
            for spec in plugin.extractors
        ],
        "checkpoints": [
            {field.name: plain(getattr(card, field.name)) for field in dataclasses.fields(card)}
            for plugin in plugins
            for card in plugin.checkpoints
        ],
        "files": {path: stamp(Path(path)) for path in sorted(files_behind(plugins, imported))},
    }


def files_of(card: CheckpointCard) -> list[Path]:
    """Return the local weights of a card, and the files beside them with the same stem."""
    if card.file is None or not Path(card.file).is_file():
        return []
    path = Path(card.file).resolve()
    return [path, *(path.with_suffix(suffix) for suffix in (".json", ".toml"))]


def reach_of(plugin: Plugin, code: Sequence[str], cards: Sequence[Path]) -> Reach:
    """Return what a plugin's module and its declared code can reach by imports.

    Raises PluginError for declared code that cannot be found.
    """
    modules = {name: source_file(name) for name in (plugin.module, *code)}
    return tree_around(modules).reach(modules, known=cards)


def code_of(plugin: Plugin, code: Sequence[str], cards: Sequence[Path]) -> dict[str, Any]:
    """Return the digest of what a plugin's code can reach, and the packages it imports."""
    reach = reach_of(plugin, code, cards)
    return {"code_sha256": reach.digest, "packages": sorted(reach.packages)}


def plain(value: Any) -> Any:
    """Return a value as JSON knows it."""
    if isinstance(value, Path):
        return str(value)
    return dict(value) if hasattr(value, "keys") else value


def files_behind(plugins: Sequence[Plugin], imported: set[str]) -> set[str]:
    """Return the files of the modules that plugins imported and of the code they name."""
    packages = {plugin.module for plugin in plugins if plugin.module}
    packages |= {name for plugin in plugins for spec in plugin.generators for name in spec.code}
    sources = {path for package in packages for path in source_files(package)}
    # Also folders, whose stamp changes when files are added, and the cards beside the sources.
    folders = {path.parent for path in sources}
    files = {str(path) for path in sources | folders}
    files |= {str(card) for folder in folders for card in folder.glob("*.toml")}
    for plugin in plugins:
        if plugin.module:
            code = [name for spec in plugin.generators for name in spec.code]
            reach = reach_of(plugin, code, ())
            files |= {str(path) for path in (*reach.modules.values(), *reach.data)}
    for name in imported:
        origin = getattr(sys.modules.get(name), "__file__", None)
        # Some modules bear a name that is no path (torch.classes); installed ones change with
        # their version alone.
        if origin and Path(origin).is_absolute() and Path(origin).is_file():
            files |= set() if is_installed(Path(origin)) else {origin}
    return files


def is_installed(path: Path) -> bool:
    """Return whether a file belongs to Python or to an installed package."""
    places = sysconfig.get_paths()
    return any(path.is_relative_to(places[name]) for name in ("stdlib", "purelib", "platlib"))


if __name__ == "__main__":
    main(sys.argv[1:])
