"""Intel GPUs. Source: torch.xpu (https://docs.pytorch.org/docs/stable/xpu.html)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from sfbench.hardware.backend import Backend


class XpuBackend(Backend):
    """One Intel GPU."""

    kind: ClassVar[str] = "xpu"
    preference: ClassVar[int] = 15
    default_samples: ClassVar[int] = 50_000
    warmup_seconds: ClassVar[float] = 2.0
    roof_side: ClassVar[int] = 8192
    roof_bytes: ClassVar[int] = 1 << 30
    precisions: ClassVar[frozenset[str]] = frozenset({"fp32", "bf16", "fp16"})
    process_group: ClassVar[str] = "xccl"
    memory_limit_acts_on: ClassVar[str] = "torch's XPU allocator"
    energy_counter: ClassVar[str] = "none that is read here"

    @classmethod
    def present(cls) -> list[dict[str, Any]]:
        """Return the devices that the xe driver shows."""
        found = sorted(Path("/sys/bus/pci/drivers/xe").glob("*/vendor"))
        return [{"name": f"Intel GPU {file.parent.name}", "driver": "xe"} for file in found]

    def processor(self) -> str:
        """Return the GPU's name."""
        import torch  # slow

        return str(torch.xpu.get_device_name(self.index))

    def synchronize(self) -> None:
        """Wait for the GPU."""
        import torch  # slow

        torch.xpu.synchronize(self.index)

    def limit_memory(self, limit: int) -> None:
        """Make torch's allocator run out beyond `limit` bytes."""
        import torch  # slow

        total = torch.xpu.get_device_properties(self.index).total_memory
        torch.xpu.set_per_process_memory_fraction(min(limit / total, 1.0), self.index)


DEVICE = XpuBackend
