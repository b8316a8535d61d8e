"""Settings from environment variables; no other package reads the environment."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sfbench.hardware.devices import AUTO, backends

if TYPE_CHECKING:
    from sfbench.catalogue.catalogue import Catalogue

STORE = Path("results")
MEASURING = (
    "ATEN_", "CUBLAS_", "CUDA_", "DNNL_", "GOMP_", "KMP_", "LD_PRELOAD", "MALLOC_", "MKL_", "NVIDIA_",
    "OMP_", "ONEDNN_", "OPENBLAS_", "PYTORCH_", "TORCH", "TRITON_",
)  # fmt: skip


PLACING = frozenset({
    "CUDA_VISIBLE_DEVICES", "CUDA_VERSION", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES",
    "NVIDIA_REQUIRE_CUDA",
})  # fmt: skip
"""Variables by which schedulers and containers say where to run: the record names the GPU."""


def user_cache() -> Path:
    """Return the user's cache folder."""
    given = os.environ.get("XDG_CACHE_HOME")
    if given:
        return Path(given)
    try:
        return Path.home() / ".cache"
    except RuntimeError:  # no home at all
        return Path("/nonexistent")


def cache_folder() -> Path:
    """Return sfbench's cache folder; a temporary one if the user's cannot be written to."""
    return usable(user_cache() / "sfbench")


@functools.cache
def usable(folder: Path) -> Path:
    """Return the folder if files can be written in it, else a temporary one, and say so once."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        other = Path(tempfile.mkdtemp(prefix="sfbench-cache-"))
        atexit.register(shutil.rmtree, other, ignore_errors=True)
        print(
            f"note: {folder} cannot be written to ({error.strerror}): features and prepared images "
            "are made anew each time; set XDG_CACHE_HOME to keep them",
            file=sys.stderr,
        )
        return other


def torch_home() -> Path:
    """Return the folder in which torch keeps downloaded weights."""
    return Path(os.environ.get("TORCH_HOME") or user_cache() / "torch")


def device_flag(text: str) -> str:
    """Return the value of --device: for "auto", the best kind that the environment does not hide."""
    if text != AUTO:
        return text
    kinds = backends().values()
    hidden = {
        kind
        for kind in kinds
        if kind.visibility_variable and os.environ.get(kind.visibility_variable) in {"", "-1"}
    }
    if not hidden:
        return text
    return next(kind.kind for kind in kinds if kind not in hidden and kind.present())


def located(plugins: Sequence[str] | None) -> list[str]:
    """Return --plugin values with files as absolute paths: the same name may exist elsewhere."""
    return [str(Path(p).resolve()) if p.endswith(".py") else p for p in plugins or []]


def measuring_environment() -> dict[str, str]:
    """Return the environment variables that can affect a measurement, with their values."""
    found = (name for name in sorted(os.environ) if name.startswith(MEASURING))
    return {name: os.environ[name] for name in found if name not in PLACING}


def job_number(environment: Mapping[str, str] = os.environ) -> str:
    """Return by which job of a scheduler this process runs, for people; empty for none."""
    task = environment.get("SLURM_ARRAY_TASK_ID")
    if "SLURM_JOB_ID" not in environment:
        return environment.get("JOB_COMPLETION_INDEX", "")
    job = environment.get("SLURM_ARRAY_JOB_ID") if task else environment["SLURM_JOB_ID"]
    return f"{job}_{task}" if task else str(job)


def catalogue(given: Sequence[str] | None, disabled: Sequence[str] | None) -> Catalogue:
    """Return the catalogue of installed and given plugins."""
    from sfbench.catalogue.catalogue import read_catalogue

    return read_catalogue(located(given), disabled or [], user_cache() / "sfbench")
