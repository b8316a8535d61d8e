"""The child process behind `asking`: imports plugins and writes what they offer as JSON.

python -m sfbench.catalogue.discovery FOLDER --seconds S [--plugin P]... [--only N]...
"""

from __future__ import annotations

import argparse
import dataclasses
import faulthandler
import json
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from sfbench.api.errors import PluginError
from sfbench.api.spec import CheckpointCard
from sfbench.catalogue.asking import ANSWER, NOW, STUCK
from sfbench.catalogue.reach import tree_around
from sfbench.catalogue.registry import (
    Plugin,
    PluginSource,
    files_at,
    load_plugin,
    plugin_sources,
    source_file,
)
from sfbench.catalogue.stamps import stamp
from sfbench.hardware.leftovers import end_with, leave

TORCH_FACTOR = 12
"""torch loads gigabytes, perhaps from a slow disk: it gets so much more time."""


def main(arguments: Sequence[str]) -> None:
    """Write the answer file in one go, as the last action."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--plugin", action="append", default=[])
    parser.add_argument("--only", action="append", default=[])
    options = parser.parse_args(arguments)
    end_with(options.parent)
    plugins = []
    with (options.folder / STUCK).open("wb", buffering=0) as stuck:
        watch = Watch(stuck.fileno(), options.seconds)
        sys.meta_path.insert(0, watch)
        for source in plugin_sources(options.plugin, []):
            if source.name in options.only:
                (options.folder / NOW).write_text(source.name, encoding="utf-8")
                watch.rearm()
                plugins.append(load_apart(source))
        del sys.meta_path[0]
        faulthandler.cancel_dump_traceback_later()
    answer = json.dumps(describe(plugins))
    (options.folder / ANSWER).write_text(answer, encoding="utf-8")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A plugin with the files of its modules, by name, and those of what it imported."""

    plugin: Plugin
    sources: Mapping[str, Path]
    imported: frozenset[Path]


def load_apart(source: PluginSource) -> Loaded:
    """Load a plugin so that the next one does not find the modules beside it.

    Two files may each have their own `model.py` beside them.
    """
    path, before = list(sys.path), set(sys.modules)
    plugin = load_plugin(source)
    named = {plugin.module} | {name for spec in plugin.generators for name in spec.code}
    try:
        sources = {name: source_file(name) for name in sorted(named - {""})}
    except PluginError as error:
        plugin, sources = Plugin(source=source, problem=str(error)), {}
    files = {name: file_of(sys.modules[name]) for name in set(sys.modules) - before}
    beside = [Path(folder) for folder in sys.path if folder not in path]
    sys.path[:] = path
    for name, file in files.items():
        if file and any(file.is_relative_to(folder) for folder in beside):
            del sys.modules[name]
    return Loaded(plugin=plugin, sources=sources, imported=frozenset(filter(None, files.values())))


def file_of(module: ModuleType) -> Path | None:
    """Return the file of a module; None for one that has none, or a name that is no path."""
    origin = getattr(module, "__file__", None)
    # Some modules bear a name that is no path (torch.classes).
    usable = isinstance(origin, str) and Path(origin).is_absolute() and Path(origin).is_file()
    return Path(str(origin)) if usable else None


class Watch:
    """Ends the process when nothing more is imported for a while, and notes where it stands.

    It is asked for every module first, and knows none. A thread of C keeps the time, so that code
    which never yields is ended, too.
    """

    def __init__(self, file: int, seconds: float) -> None:
        self.file, self.seconds = file, seconds

    def find_spec(self, name: str, *_: object) -> None:
        """Note that something is imported."""
        self.rearm(TORCH_FACTOR if name.partition(".")[0] == "torch" else 1)

    def rearm(self, factor: float = 1) -> None:
        """End the process after the time times a factor, unless this is called again before."""
        faulthandler.dump_traceback_later(self.seconds * factor, exit=True, file=self.file)


def describe(loaded: Sequence[Loaded]) -> dict[str, Any]:
    """Return the catalogue as JSON data, with the files that decided it."""
    plugins = [one.plugin for one in loaded]
    sources = {one.plugin.source.target: one.sources for one in loaded}
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
                "reference": spec.reference,
                "executes": spec.executes,
                "requires": dict(spec.requires),
                "trainable": spec.build_learner is not None,
                "settings": [dataclasses.asdict(setting) for setting in spec.settings],
                "presets": [dataclasses.asdict(preset) for preset in spec.presets],
                **code_of(sources[plugin.source.target], (plugin.module, *spec.code), cards),
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
                "hooks": list(plugin.hooks),
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
                **code_of(sources[plugin.source.target], (plugin.module,), cards),
            }
            for plugin in plugins
            for spec in plugin.extractors
        ],
        "checkpoints": [
            {field.name: plain(getattr(card, field.name)) for field in dataclasses.fields(card)}
            for plugin in plugins
            for card in plugin.checkpoints
        ],
        "files": {path: stamp(Path(path)) for path in sorted(files_behind(loaded))},
    }


def files_of(card: CheckpointCard) -> list[Path]:
    """Return the local weights of a card, and the files beside them with the same stem."""
    if card.file is None or not Path(card.file).is_file():
        return []
    path = Path(card.file).resolve()
    return [path, *(path.with_suffix(suffix) for suffix in (".json", ".toml"))]


def code_of(
    sources: Mapping[str, Path], names: Sequence[str], cards: Sequence[Path]
) -> dict[str, Any]:
    """Return the digest of what modules can reach by imports, and the packages they import."""
    modules = {name: sources[name] for name in names}
    reach = tree_around(modules).reach(modules, known=cards)
    return {"code_sha256": reach.digest, "packages": sorted(reach.packages)}


def plain(value: Any) -> Any:
    """Return a value as JSON knows it."""
    if isinstance(value, Path):
        return str(value)
    return dict(value) if hasattr(value, "keys") else value


def files_behind(loaded: Sequence[Loaded]) -> set[str]:
    """Return the files of the modules that plugins imported and of the code they name."""
    files: set[Path] = set()
    for one in loaded:
        own = {file for path in one.sources.values() for file in files_at(path)}
        # Also folders, whose stamp changes when files are added, and the cards beside the sources.
        folders = {path.parent for path in own}
        files |= own | folders | {card for folder in folders for card in folder.glob("*.toml")}
        if one.sources:
            reach = tree_around(one.sources).reach(one.sources, known=())
            files |= {*reach.modules.values(), *reach.data}
        # Installed packages change with their version alone.
        files |= {path for path in one.imported if not is_installed(path)}
    return set(map(str, files))


def is_installed(path: Path) -> bool:
    """Return whether a file belongs to Python or to an installed package."""
    places = sysconfig.get_paths()
    return any(path.is_relative_to(places[name]) for name in ("stdlib", "purelib", "platlib"))


if __name__ == "__main__":
    main(sys.argv[1:])
    leave()
