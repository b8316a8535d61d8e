"""Compiles the kernels, once for each version of torch, and loads them as torch.ops.styleformer."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

HERE = Path(__file__).parent
SOURCES = ("enter.cpp", "mix.cpp", "prepare.cpp")
NAME = "sfbench_styleformer"
# Not -ffast-math: it would take the rounding of 2^x apart. Not -march=native: home folders are
# shared by machines. No -fopenmp for the linker: torch's own runtime has those functions.
FLAGS = ("-O3", "-mavx2", "-mfma", "-fopenmp", "-ffp-contract=fast", "-fno-math-errno")


class NativeKernelsError(RuntimeError):
    """The kernels cannot be used: no such processor, no compiler, or a model they do not compute."""


def load() -> None:
    """Make torch.ops.styleformer available, compiling it if need be: less than a minute.

    Raises NativeKernelsError where that is impossible.
    """
    if loaded():
        return
    capability = torch.backends.cpu.get_cpu_capability()
    if not capability.startswith("AVX"):
        msg = f"they need a processor with AVX2; torch found {capability} here"
        raise NativeKernelsError(msg)
    library = folder() / f"{NAME}-{digest()}.so"
    if not library.exists():
        compile_to(library)
    torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]  # torch


def loaded() -> bool:
    """Return whether the operations are there already."""
    return hasattr(torch.ops.styleformer, "mix")


def folder() -> Path:
    """Return the folder that torch keeps extensions in."""
    given = os.environ.get("TORCH_EXTENSIONS_DIR")
    if given:
        return Path(given)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "torch_extensions"


def digest() -> str:
    """Return the digest of all that the library depends on."""
    found = hashlib.sha256(f"{torch.__version__} {FLAGS}".encode())
    for file in sorted(HERE.glob("*.cpp")) + sorted(HERE.glob("*.h")):
        found.update(file.read_bytes())
    return found.hexdigest()[:16]


def compile_to(library: Path) -> None:
    """Compile the library in a folder of its own, then move it to its place at once."""
    from torch.utils import cpp_extension  # it looks for CUDA, and says so

    compiler = cpp_extension.get_cxx_compiler()  # type: ignore[no-untyped-call]  # torch
    if shutil.which(compiler) is None:
        msg = (
            f"they are compiled here, and there is no compiler {compiler}: install one, or set CXX"
        )
        raise NativeKernelsError(msg)
    try:
        library.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=library.parent) as build, ninja_found():
            cpp_extension.load(
                NAME,
                [str(HERE / source) for source in SOURCES],
                extra_cflags=list(FLAGS),
                build_directory=build,
                is_python_module=False,
            )
            Path(build, f"{NAME}.so").replace(library)
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        msg = f"they could not be compiled: {str(error).strip().splitlines()[0]}"
        raise NativeKernelsError(msg) from None


@contextlib.contextmanager
def ninja_found() -> Iterator[None]:
    """Let torch find the ninja beside this Python, also where its environment is not activated."""
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), before])
    try:
        if shutil.which("ninja") is None:
            msg = "they are compiled with ninja, which is missing: pip install 'sfbench[native]'"
            raise NativeKernelsError(msg)
        yield
    finally:
        os.environ["PATH"] = before
