"""What the environment decides: folders of caches. No other room reads environment variables."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sfbench.catalogue import Catalogue

STORE = Path("results")
MEASURING = ("CUDA_", "CUBLAS_", "KMP_", "MKL_", "NVIDIA_", "OMP_", "PYTORCH_", "TORCH", "MALLOC_")


def user_cache() -> Path:
    """Return the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def torch_home() -> Path:
    """Return the folder in which torch keeps downloaded weights."""
    return Path(os.environ.get("TORCH_HOME") or user_cache() / "torch")


def gpus_hidden() -> bool:
    """Return whether the environment hides every GPU from torch."""
    return os.environ.get("CUDA_VISIBLE_DEVICES") in {"", "-1"}


def ranks() -> tuple[int, int]:
    """Return this process's number among those that torchrun started, and how many they are."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def local_rank() -> int:
    """Return this process's number among those on this machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def located(plugins: Sequence[str] | None) -> list[str]:
    """Return --plugin values with files as absolute paths: the same name may lie elsewhere."""
    return [str(Path(p).resolve()) if p.endswith(".py") else p for p in plugins or []]


def measuring_environment() -> dict[str, str]:
    """Return the environment variables that can move a measurement, as they are set."""
    return {name: os.environ[name] for name in sorted(os.environ) if name.startswith(MEASURING)}


def catalogue(given: Sequence[str] | None, disabled: Sequence[str] | None) -> Catalogue:
    """Return what is installed and given."""
    from sfbench.catalogue import read_catalogue

    return read_catalogue(located(given), disabled or [], user_cache() / "sfbench")
