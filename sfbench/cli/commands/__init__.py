"""The commands of `sfbench`. Each parses, builds, calls, prints; torch and pandas load late."""

from sfbench.cli.commands import (
    data,
    demo,
    lottery,
    many,
    measure,
    models,
    paths,
    quality,
    reconstruct,
    root,
    suites,
    train,
)

app = root.app

__all__ = [
    "app",
    "data",
    "demo",
    "lottery",
    "many",
    "measure",
    "models",
    "paths",
    "quality",
    "reconstruct",
    "suites",
    "train",
]
