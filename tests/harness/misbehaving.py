"""Models that fail in every way a trial can, for the tests of `sfbench run`."""

from __future__ import annotations

import os
import signal
import time
from functools import partial

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
            if fault == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if fault == "oom":
                raise torch.OutOfMemoryError
            if fault == "hang":
                time.sleep(600)
            x = torch.tanh(self.layer(z)).reshape(-1, 3, request.resolution, request.resolution)
            return x * (float("nan") if fault == "nan" else 1)

    return ModuleGenerator(Fault(), request, latent_shape=(8,))


FAULTS = ("none", "kill", "oom", "hang", "nan", "flags", "unsupported")


@hookimpl
def sfbench_generators() -> list[GeneratorSpec]:
    return [
        GeneratorSpec(
            name=f"fault-{fault}", summary="", resolutions=(16,), build=partial(build, fault=fault)
        )
        for fault in FAULTS
    ]
