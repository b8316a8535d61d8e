"""The host's processors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from sfbench.hardware import host
from sfbench.hardware.backend import Backend

HOST_SHARE = 0.9
"""Of the memory that is free: what a search may take without hurting the system."""


HALF_INSTRUCTIONS: Mapping[str, tuple[str, ...]] = {
    "bf16": ("avx512_bf16", "amx_bf16", "bf16"),
    "fp16": ("avx512_fp16", "amx_fp16", "asimdhp"),
}
"""Instruction sets that compute in half precision, as Linux names them; the last ones are Arm's."""


class CpuBackend(Backend):
    """The CPU: everything is done when a call returns, and memory is the process's own."""

    kind: ClassVar[str] = "cpu"
    preference: ClassVar[int] = 0
    is_host: ClassVar[bool] = True
    default_samples: ClassVar[int] = 128
    warmup_seconds: ClassVar[float] = 1.0
    roof_side: ClassVar[int] = 1536
    roof_bytes: ClassVar[int] = 64 << 20
    precisions: ClassVar[frozenset[str]] = frozenset({"fp32", "bf16", "fp16", "int8"})
    memory_limit_acts_on: ClassVar[str] = "RLIMIT_DATA"
    energy_counter: ClassVar[str] = "RAPL energy of the processor packages"
    few_images_at_a_time: ClassVar[bool] = True

    @classmethod
    def present(cls) -> list[dict[str, Any]]:
        """Return the one host."""
        return [{"name": host.cpu_model()}]

    def processor(self) -> str:
        """Return the processor's name, as the system gives it."""
        return host.cpu_model()

    def lacks(self, precision: str) -> str | None:
        """Return the instruction sets that compute in that precision; None if one of them is there."""
        needed, there = HALF_INSTRUCTIONS.get(precision, ()), host.instructions()
        if not needed or not there or not there.isdisjoint(needed):
            return None
        return f"{', '.join(needed[:-1])} or {needed[-1]}"

    def synchronize(self) -> None:
        """Do nothing: a call on the CPU has returned when it is done."""

    def limit_memory(self, limit: int) -> None:
        """Make allocations of private writable memory fail beyond `limit` bytes."""
        import resource  # not on every system

        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

    def memory_ceiling(self) -> int | None:
        """Return a share of the memory that is free: beyond it the system kills, or swaps."""
        available = host.available_bytes()
        return None if available is None else int(HOST_SHARE * available)

    def energy_joules(self) -> float | None:
        """Return the energy counters of the processor packages, added up."""
        return host.package_joules()


DEVICE = CpuBackend
