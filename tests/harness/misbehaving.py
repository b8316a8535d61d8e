"""Models that fail in every way a trial can, for the tests of `sfbench run`."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

from sfbench.api import BuildRequest, GeneratorSpec, ModuleGenerator, UnsupportedError, hookimpl


def build(request: BuildRequest, fault: str) -> ModuleGenerator:
    import torch

    if fault == "unsupported":
        msg = "this model needs a machine that nobody has"
        raise UnsupportedError(msg)
    if fault == "flags":
        torch.set_num_threads(torch.get_num_threads() + 1)

    class Fault(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(8, 3 * request.resolution**2)

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            misbehave(fault)
            x = torch.tanh(self.layer(z)).reshape(-1, 3, request.resolution, request.resolution)
            return x * (float("nan") if fault == "nan" else 1)

    return ModuleGenerator(Fault(), request, latent_shape=(8,))


def misbehave(fault: str) -> None:
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "oom":
        import torch

        raise torch.OutOfMemoryError
    if fault == "hang":
        time.sleep(600)
    if fault == "junk":
        junk()
    if fault == "forge":
        Path(sys.argv[2]).write_text('{"schema": 1}')
        os._exit(0)
    if fault == "folder":
        shutil.rmtree(Path(sys.argv[2]).parent)
    if fault == "exit":
        os._exit(0)
    if fault == "words":
        raise ValueError("bad \udcff \x1b[31m name" + 10**6 * "E" + "\nmore")
    if fault in {"children", "thread"} and not hasattr(misbehave, "left"):
        misbehave.left = left_behind() if fault == "children" else None
        threading.Thread(target=time.sleep, args=(600 if fault == "thread" else 0,)).start()


def left_behind() -> list[subprocess.Popen[bytes]]:
    return [subprocess.Popen(["/bin/sleep", "600"], start_new_session=new) for new in (0, 1)]


def junk() -> None:
    """Write what is no event into everything that is open."""
    for descriptor in range(3, 60):
        with contextlib.suppress(OSError):
            os.write(
                descriptor,
                b'junk\n{}\n[1]\n5\n{"phase": 5, "done": "x"}\n{"phase": "x", "done": 1}\n',
            )
            os.write(descriptor, 10**5 * b"x" + b"\n" + 10**4 * b"[" + b"\n")


FAULTS = (
    "none", "kill", "oom", "hang", "nan", "flags", "unsupported", "junk", "forge", "folder", "exit",
    "words", "children", "thread",
)  # fmt: skip


@hookimpl
def sfbench_generators() -> list[GeneratorSpec]:
    return [
        GeneratorSpec(
            name=f"fault-{fault}", summary="", resolutions=(16,), build=partial(build, fault=fault)
        )
        for fault in FAULTS
    ]
