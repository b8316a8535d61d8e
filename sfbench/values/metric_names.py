"""Names of metrics used in several places; they are declared in `metrics`.

Measuring code imports names from here: changing a declaration changes no number.
"""

from __future__ import annotations

CORE, E2E = "throughput.core", "throughput.e2e"
LATENCY, LATENCY_BATCH = "latency", "latency_batch"
LATENCY_P50 = "latency.p50"
WEIGHTS = "memory.weights"
HOST_PEAK, HOST_ABOVE_LOADED = "memory.host_peak", "memory.host_above_loaded"
DEVICE_ALLOCATED, DEVICE_RESERVED = "memory.device_allocated_peak", "memory.device_reserved_peak"
MINIMUM_MEMORY = "memory.minimum"
COLD_COMPILE, WARM_COMPILE = "cold.compile", "warm.compile"
PARAMETERS, FLOPS, MFU, ENERGY = "parameters", "flops", "mfu", "energy"
STAGE_SECONDS, STAGE_MEMORY = "stage.seconds", "stage.memory"
FID, FD, IS, KID, FWD = "fid", "fd", "is", "kid", "fwd"

UNSTEADY = "unsteady"
NOISY = "noisy"
LAUNCH_BOUND = "launch_bound"
THROTTLED = "throttled"
FALLBACK_KERNELS = "fallback_kernels"
UNIT_RANGE = "unit_range"
UNREADABLE = "unreadable"
CUSTOM_TIMING = "custom_timing"
"""The flag of a record that was not timed as the protocol says: compared with no other."""
