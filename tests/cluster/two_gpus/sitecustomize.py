"""Makes this host's processors look like two GPUs, to every Python that starts with this folder on its path.

Everything that chooses, shows, locks and names a device is the real code; only the arithmetic is not a
GPU's.
"""

from __future__ import annotations

import os
from typing import Any

from sfbench.hardware.devices import cpu
from sfbench.hardware.places import Place

NAMES = ("GPU-zero", "GPU-full")


class TwoGpus(cpu.CpuBackend):
    """Two devices, which CUDA_VISIBLE_DEVICES shows or hides."""

    visibility_variable = "CUDA_VISIBLE_DEVICES"

    @classmethod
    def present(cls) -> list[dict[str, Any]]:
        """Return both."""
        return [{"name": "Fake", "driver": "1"} for _ in NAMES]

    @classmethod
    def places(cls, shown: str | None) -> list[Place]:
        """Return those that are shown, by number or name."""
        words = NAMES if shown is None else tuple(filter(None, shown.split(",")))
        found = [NAMES[int(word)] if word.isdecimal() else word for word in words]
        return [
            Place(kind="cpu", index=i, name="Fake", unique=one, driver="1", shown=one)
            for i, one in enumerate(found)
        ]

    def identity(self) -> dict[str, str] | None:
        """Return the device that this process sees first."""
        return {
            "name": "Fake",
            "uuid": self.places(os.environ.get("CUDA_VISIBLE_DEVICES"))[0].unique,
        }


TwoGpus.__module__ = cpu.__name__  # the code that counts for a trial's identity
cpu.DEVICE = TwoGpus  # type: ignore[misc]
