"""Plugins, found and loaded in isolation; broken ones are listed with a reason.

pluggy calls the hooks, but loading is ours: one broken plugin must not take down the others.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import pluggy

from sfbench.api.errors import PluginError, UsageError, first_line
from sfbench.api.hooks import PROJECT, Hooks
from sfbench.api.spec import CheckpointCard, ExtractorSpec, GeneratorSpec

BYTES_SHOWN = 200
ACTING = ("sfbench_convert", "sfbench_export", "sfbench_recognize", "sfbench_write_graph")
"""Hooks that act on a file, a generator or records, as others only list what there is."""
BY_HAND = "--plugin"
"""The origin of a plugin that is not installed."""
T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PluginSource:
    """Where a plugin comes from: an entry point, a file or a module given by hand."""

    name: str
    target: str
    origin: str

    def load(self) -> ModuleType:
        """Import and return the plugin's module."""
        if not self.target.endswith(".py"):
            if self.origin == BY_HAND:
                import_from(Path.cwd())
            return importlib.import_module(self.target)
        path = Path(self.target)
        import_from(path.absolute().parent)
        place = hashlib.sha256(str(path).encode()).hexdigest()[:8]
        spec = importlib.util.spec_from_file_location(f"sfbench_file_{path.stem}_{place}", path)
        if spec is None or spec.loader is None or not path.is_file():
            msg = f"{path}: no such file"
            raise PluginError(msg)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """A loaded plugin, or a broken one: then `problem` says why and it offers nothing."""

    source: PluginSource
    problem: str | None = None
    generators: tuple[GeneratorSpec, ...] = ()
    checkpoints: tuple[CheckpointCard, ...] = ()
    extractors: tuple[ExtractorSpec, ...] = ()
    module: str = ""
    hooks: tuple[str, ...] = ()
    convert: Callable[..., str | None] | None = None
    export: Callable[..., str | None] | None = None
    recognize: Callable[..., tuple[str, int] | None] | None = None
    write_graph: Callable[..., str | None] | None = None


def import_from(folder: Path) -> None:
    """Look for modules in this folder, before all others."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def plugin_sources(given: Sequence[str], disabled: Iterable[str]) -> list[PluginSource]:
    """Return installed plugins (entry points of the group "sfbench") and those given by hand.

    `given`: paths ending in .py, or module names. `disabled`: names to leave out; raises
    UsageError for one that does not exist.
    """
    found = [
        PluginSource(
            name=point.name,
            target=point.value,
            origin=f"{point.dist.name} {point.dist.version}" if point.dist else "installed",
        )
        for point in sorted(metadata.entry_points(group=PROJECT), key=lambda point: point.name)
    ]
    for text in given:
        name = Path(text).stem if text.endswith(".py") else text
        found.append(PluginSource(name=name, target=text, origin=BY_HAND))
    left_out = set(disabled)
    unknown = left_out - {source.name for source in found}
    if unknown:
        names = ", ".join(source.name for source in found)
        msg = f"--no-plugin {', '.join(sorted(unknown))}: no such plugin; available: {names}"
        raise UsageError(msg)
    unique = {source.target: source for source in found if source.name not in left_out}
    return list(unique.values())


def load_plugin(source: PluginSource) -> Plugin:
    """Return the plugin, loaded; any failure makes it a broken plugin, never an error."""
    try:
        module = source.load()
        manager = pluggy.PluginManager(PROJECT)
        manager.add_hookspecs(Hooks)
        manager.register(module, source.name)
        manager.check_pending()
        generators = collect(manager.hook.sfbench_generators, GeneratorSpec)
        checkpoints = collect(manager.hook.sfbench_checkpoints, CheckpointCard)
        extractors = collect(manager.hook.sfbench_extractors, ExtractorSpec)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  # a stranger's code may raise anything, SystemExit too
        return Plugin(source=source, problem=one_line(error))
    acts = tuple(name for name in ACTING if getattr(manager.hook, name).get_hookimpls())
    if not generators and not checkpoints and not extractors and not acts:
        hooks = ", ".join(name for name in vars(Hooks) if name.startswith("sfbench_"))
        return Plugin(source=source, problem=f"it implements no hook; available: {hooks}")
    return Plugin(
        source=source,
        generators=generators,
        checkpoints=checkpoints,
        extractors=extractors,
        module=module.__name__,
        hooks=acts,
        convert=manager.hook.sfbench_convert,
        export=manager.hook.sfbench_export,
        recognize=manager.hook.sfbench_recognize,
        write_graph=manager.hook.sfbench_write_graph,
    )


def collect(hook: Callable[[], Iterable[Iterable[T]]], kind: type[T]) -> tuple[T, ...]:
    """Return what the hook's implementations offer; raises PluginError for another type."""
    values = [value for batch in hook() for value in batch]
    for value in values:
        if not isinstance(value, kind):
            msg = f"a hook returned {value!r:.{BYTES_SHOWN}}; expected {kind.__name__} objects"
            raise PluginError(msg)
    return tuple(values)


def one_line(error: BaseException) -> str:
    """Return an error as one line: its type and the first line of its message."""
    name = type(error).__name__
    return f"{name}: {first_line(error)}" if str(error).strip() else name


def find_generator(plugins: Iterable[Plugin], name: str) -> tuple[Plugin, GeneratorSpec]:
    """Return the plugin and spec of a model, by its name or, for a reference, its kind.

    Raises UsageError when no plugin offers that name, PluginError when more than one does.
    """
    every = [(plugin, spec) for plugin in plugins for spec in plugin.generators]
    kind = name.partition(":")[0]
    offers = [(plugin, spec) for plugin, spec in every if spec.name == name] or [
        (plugin, spec) for plugin, spec in every if spec.name == kind and spec.reference
    ]
    if len(offers) == 1:
        return offers[0]
    if offers:
        owners = " and ".join(plugin.source.name for plugin, _ in offers)
        msg = f"model {name} is offered by plugins {owners}; disable one with --no-plugin"
        raise PluginError(msg)
    names = ", ".join(sorted(spec.name for plugin in plugins for spec in plugin.generators))
    msg = f"model {name}: not found; available: {names or 'none'}"
    raise UsageError(msg)


def source_file(name: str) -> Path:
    """Return the source of a module or package, found without importing it.

    Raises PluginError if there is none.
    """
    loaded = sys.modules.get(name)
    origin = getattr(loaded, "__file__", None)
    if origin is None:
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            spec = None
        origin = spec.origin if spec else None
    if origin is None:
        msg = f"code {name}: no such module; expected the name of a package or module"
        raise PluginError(msg)
    return Path(origin)


def files_at(source: Path) -> list[Path]:
    """Return the .py files of the package or module with this source, sorted."""
    return sorted(source.parent.rglob("*.py")) if source.name == "__init__.py" else [source]
