"""Memory: size of the loaded model, and the peak while images are generated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

from sfbench.api.protocols import ForeignRuntime, ImageGenerator
from sfbench.hardware.backend import Backend
from sfbench.hardware.host import host_memory, reset_host_peak
from sfbench.speed.foreign import foreign_reading
from sfbench.values.metric_names import HOST_ABOVE_LOADED, HOST_PEAK, WEIGHTS
from sfbench.values.records import Reading

CALLS = 2
PEAKS = ("requested", "allocated", "reserved")


def weights_reading(generator: ImageGenerator, module: nn.Module | None) -> Reading:
    """Return the bytes of parameters and buffers."""
    if isinstance(generator, ForeignRuntime):
        return foreign_reading(WEIGHTS, generator.model_size.weight_bytes, generator)
    if module is None:
        return Reading(metric=WEIGHTS, reason="the generator has no nn.Module")
    owned = [*module.parameters(), *module.buffers()]
    tensors = [plain for tensor in owned for plain in plain_tensors(tensor)]
    # Modules may share a tensor: count each storage once.
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return Reading(metric=WEIGHTS, value=sum(storages.values()))


def plain_tensors(tensor: Any) -> Iterator[Tensor]:
    """Yield the tensors of which one is made: a quantized one holds numbers and their scales."""
    flatten = getattr(tensor, "__tensor_flatten__", None)
    if flatten is None:
        yield tensor
        return
    for name in flatten()[0]:
        yield from plain_tensors(getattr(tensor, name))


def measure_memory(
    work: Callable[[], object], *, batch: int, backend: Backend, loaded: int | None
) -> Iterator[Reading]:
    """Yield host and device peaks of the core region; null with the reason if unavailable.

    `loaded`: resident bytes of the process once the model was built.
    """
    how = {"batch": batch, "region": "core", "calls": CALLS}
    backend.reset_peaks()
    before = backend.peaks()
    resettable = reset_host_peak()
    for _ in range(CALLS):
        work()
    backend.synchronize()
    peak = host_memory("VmHWM")
    yield host_reading("memory.host_loaded", loaded, how, "this system does not report it")
    if not resettable:
        peak, reason = None, "this system cannot reset the peak (/proc/self/clear_refs)"
    else:
        reason = "this system does not report it"
    yield host_reading(HOST_PEAK, peak, how, reason)
    above = None if peak is None or loaded is None else max(peak - loaded, 0)
    yield host_reading(HOST_ABOVE_LOADED, above, how, reason)
    yield from device_readings(backend, how, before.retries if before else 0)


def host_reading(metric: str, value: int | None, how: dict[str, object], reason: str) -> Reading:
    """Return a reading in bytes, or null with the reason."""
    if value is None:
        return Reading(metric=metric, reason=reason)
    return Reading(metric=metric, value=value, how=how)


def device_readings(
    backend: Backend, how: dict[str, object], retries: int = 0
) -> Iterator[Reading]:
    """Yield the peaks of the device's allocator; `retries` are those before the measurement."""
    peaks = backend.peaks()
    if peaks is None:
        for name in (*(f"device_{kind}_peak" for kind in PEAKS), "device_in_use"):
            reason = "this device has no allocator that counts peaks"
            if backend.identity() is None:
                reason = "measured on the CPU: no GPU memory"
            yield Reading(metric=f"memory.{name}", reason=reason)
        return
    pools = backend.pools()
    for kind in PEAKS:
        yield Reading(
            metric=f"memory.device_{kind}_peak",
            value=getattr(peaks, kind),
            how=how | {"allocation_retries": peaks.retries - retries},
        )
    for name, held in sorted(pools.items()):
        yield Reading(metric=f"memory.pool[{name}]", value=held, how=how)
    yield Reading(
        metric="memory.device_in_use",
        value=backend.bytes_in_use(),
        how=how | {"what": "the whole device, every process and context on it, after the calls"},
    )


def cold_readings(backend: Backend, peak: int | None) -> Iterator[Reading]:
    """Yield the peaks since before the model was built, including compilation and autotuning.

    `peak`: the host's, over the phases so far; None if unknown.
    """
    how: dict[str, object] = {"region": "build, first images, compilation"}
    reason = "this system cannot reset the peak (/proc/self/clear_refs)"
    yield host_reading("memory.host_peak_cold", peak, how, reason)
    peaks = backend.peaks()
    if peaks is not None:
        metric = "memory.device_allocated_peak_cold"
        yield Reading(metric=metric, value=peaks.allocated, how=how)
