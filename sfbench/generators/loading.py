"""Loads the plugins that a command needs, and no other: one that crashes takes down itself only."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sfbench.catalogue.registry import Plugin, load_plugin, plugin_sources
from sfbench.hardware.policy import changed_flags, global_flags, restore_flags


def load_plugins(
    names: Collection[str], given: Sequence[str], disabled: Sequence[str]
) -> tuple[tuple[Plugin, ...], list[str]]:
    """Return the plugins of these names, loaded, and the switches of torch that they moved.

    The switches are put back: what a module sets when it is imported is for its own scripts.
    `given` and `disabled`: what --plugin and --no-plugin say.
    """
    flags = global_flags()
    sources = plugin_sources(given, disabled)
    plugins = tuple(load_plugin(source) for source in sources if source.name in names)
    changed = changed_flags(flags)
    restore_flags(flags)
    return plugins, changed
