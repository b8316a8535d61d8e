"""The commands of `sfbench`. Each parses, builds, calls, prints; torch and pandas load late."""

from sfbench.cli.commands import (
    data,
    demo,
    diversity,
    lottery,
    many,
    measure,
    models,
    panel,
    paths,
    quality,
    reconstruct,
    replay,
    root,
    suites,
    train,
)

app = root.app

__all__ = [
    "app",
    "data",
    "demo",
    "diversity",
    "lottery",
    "many",
    "measure",
    "models",
    "panel",
    "paths",
    "quality",
    "reconstruct",
    "replay",
    "suites",
    "train",
]
