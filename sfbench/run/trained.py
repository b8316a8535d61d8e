"""Folders of training runs, where a weights file is expected."""

from __future__ import annotations

from pathlib import Path

from sfbench.api.errors import UsageError


def weights_of_run(folder: Path) -> Path:
    """Return the weights file of a training run's folder: the best, or the last snapshot's."""
    found = [folder / name for name in ("best.safetensors", "weights.safetensors")]
    for path in found:
        if path.is_file():
            return path
    msg = (
        f"--weights {folder}: holds neither {found[0].name} nor {found[1].name}: not a training run"
    )
    raise UsageError(msg)


def is_run(path: Path) -> bool:
    """Return whether a path is a training run's folder."""
    return (path / "run.json").is_file() or (path / "best.safetensors").is_file()
