"""GPUs of Apple silicon. Never run on one by us: its contract test runs wherever torch finds one.

Source: torch.mps (https://docs.pytorch.org/docs/stable/mps.html).
"""

from __future__ import annotations

import contextlib
import platform
from typing import Any, ClassVar

from sfbench.hardware import host
from sfbench.hardware.backend import AllocatorPeaks, Backend, event_span


class MpsBackend(Backend):
    """The GPU of an Apple processor. Its memory is the host's; torch's allocator keeps no peaks."""

    kind: ClassVar[str] = "mps"
    preference: ClassVar[int] = 10
    default_samples: ClassVar[int] = 1024
    warmup_seconds: ClassVar[float] = 2.0
    roof_side: ClassVar[int] = 4096
    roof_bytes: ClassVar[int] = 256 << 20
    precisions: ClassVar[frozenset[str]] = frozenset({"fp32", "bf16", "fp16"})
    memory_limit_acts_on: ClassVar[str] = "torch's Metal allocator"
    energy_counter: ClassVar[str] = "none: macOS gives no counter to programs"

    @classmethod
    def present(cls) -> list[dict[str, Any]]:
        """Return the one GPU of an Apple processor, which macOS alone drives."""
        if platform.system() != "Darwin" or platform.machine() != "arm64":
            return []
        return [{"name": f"{host.cpu_model()} GPU", "driver": f"macOS {platform.mac_ver()[0]}"}]

    def processor(self) -> str:
        """Return the processor's name."""
        return f"{host.cpu_model()} GPU"

    def identity(self) -> dict[str, str] | None:
        """Return the name; there is no UUID."""
        return {"name": self.processor(), "uuid": "unknown"}

    def synchronize(self) -> None:
        """Wait for the GPU."""
        import torch  # slow

        torch.mps.synchronize()

    def span(self) -> contextlib.AbstractContextManager[list[float]]:
        """Measure a span by events on the GPU."""
        import torch  # slow

        return event_span(lambda: torch.mps.event.Event(enable_timing=True))

    def reset_peaks(self) -> None:
        """Empty the allocator's cache."""
        import torch  # slow

        torch.mps.empty_cache()

    def peaks(self) -> AllocatorPeaks | None:
        """Return None: torch tells what the Metal driver holds now, and no peak."""
        return None

    def bytes_in_use(self) -> int | None:
        """Return what the Metal driver holds for this process."""
        import torch  # slow

        return int(torch.mps.driver_allocated_memory())

    def limit_memory(self, limit: int) -> None:
        """Make torch's allocator run out beyond `limit` bytes."""
        import torch  # slow

        most = torch.mps.recommended_max_memory()
        torch.mps.set_per_process_memory_fraction(min(limit / most, 2.0))


DEVICE = MpsBackend
