"""The choice of what computes a model's layers. No torch here."""

from __future__ import annotations

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KernelsOption:
    """What computes the layers that there are kernels for."""

    kernels: Literal["torch", "native"] = dataclasses.field(
        default="torch",
        metadata={
            "help": "native: C++ kernels for fp32 on a CPU, compiled once (needs a C++ compiler and "
            "ninja: pip install 'sfbench[native]')"
        },
    )
