"""Compiles the kernels, once for each version of torch, and loads them as torch.ops.styleformer."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from reference_models.native.counting import register_formulas

OPERATIONS: Any = torch.ops.styleformer
"""The kernels, once `load` has been called."""
HERE = Path(__file__).parent
SOURCES = ("enter.cpp", "mix.cpp", "prepare.cpp", "product.cpp", "winograd.cpp")
NAME = "sfbench_styleformer"
# Not -ffast-math: it would take the rounding of 2^x apart. Not -march=native: home folders are
# shared by machines. No -fopenmp for the linker: torch's own runtime has those functions.
FLAGS = ("-O3", "-mavx2", "-mfma", "-fopenmp", "-ffp-contract=fast", "-fno-math-errno")
LONGEST_MESSAGE = 200


class NativeKernelsError(RuntimeError):
    """The kernels cannot be used: no such processor, no compiler, or a model they do not compute."""


def load() -> None:
    """Make torch.ops.styleformer available, compiling it if need be: less than a minute.

    Raises NativeKernelsError where that is impossible.
    """
    if loaded():
        return
    find_library()
    register_formulas()


def find_library() -> None:
    """Load the library, compiling it if need be; raises NativeKernelsError."""
    capability = torch.backends.cpu.get_cpu_capability()
    if not capability.startswith("AVX"):
        msg = f"they need a processor with AVX2; torch found {capability} here"
        raise NativeKernelsError(msg)
    try:
        library = folder() / f"{NAME}-{digest()}.so"
        if not (library.exists() and opened(library)):
            compile_to(library)
            if not opened(library):
                msg = f"{library} was compiled, and cannot be loaded"
                raise NativeKernelsError(msg)
    except OSError as error:
        msg = f"{error.filename}: {error.strerror}; TORCH_EXTENSIONS_DIR names another folder for them"
        raise NativeKernelsError(msg) from None


def loaded() -> bool:
    """Return whether the operations are there already."""
    return hasattr(torch.ops.styleformer, "mix")


def opened(library: Path) -> bool:
    """Load a library; return False for a damaged one, or one for another system.

    Raises NativeKernelsError for a file that others than its owner may have written.
    """
    found = library.stat()
    if found.st_uid not in {os.getuid(), 0} or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        msg = f"{library} belongs to somebody else, or others may write to it; remove it"
        raise NativeKernelsError(msg)
    try:
        torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]  # torch
    except OSError:
        return False
    return loaded()


def folder() -> Path:
    """Return the folder that torch keeps extensions in."""
    given = os.environ.get("TORCH_EXTENSIONS_DIR")
    if given:
        return Path(given)
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111  # never raises
    return Path(cache) / "torch_extensions"


def digest() -> str:
    """Return the digest of all that the library depends on."""
    system = (torch.__version__, FLAGS, platform.machine(), platform.libc_ver())
    found = hashlib.sha256(str(system).encode())
    for file in sorted(HERE.glob("*.cpp")) + sorted(HERE.glob("*.h")):
        found.update(file.read_bytes())
    return found.hexdigest()[:16]


def compile_to(library: Path) -> None:
    """Compile the library in a process and a folder of their own, then move it to its place at once.

    Several processes may do so at the same time. Raises NativeKernelsError if it cannot be compiled.
    """
    compiler = os.environ.get("CXX", "c++")
    if shutil.which(compiler.partition(" ")[0]) is None:
        msg = (
            f"they are compiled here, and there is no compiler {compiler}: install one, or set CXX"
        )
        raise NativeKernelsError(msg)
    # Beside this Python, also where its environment is not activated.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    if shutil.which("ninja", path=path) is None:
        msg = "they are compiled with ninja, which is missing: pip install 'sfbench[native]'"
        raise NativeKernelsError(msg)
    library.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as build:
        done = subprocess.run(  # noqa: S603  # our own module
            [sys.executable, "-P", "-m", "reference_models.native.compiling", build],
            env=os.environ | {"PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        made = Path(build, f"{NAME}.so")
        if done.returncode or not made.exists():
            msg = f"{compiler} could not compile them: {cause(done.stdout)}"
            raise NativeKernelsError(msg)
        made.chmod(0o755)
        made.replace(library)


def cause(output: str) -> str:
    """Return the line of a compiler's output that says what is wrong."""
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["it says nothing"]
    wrong = [line for line in lines if re.search(r"\berror:", line)]
    return (wrong or lines[-1:])[0][:LONGEST_MESSAGE]
