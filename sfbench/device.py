"""With `cuda`, the only files that ask torch and the drivers about hardware."""

from __future__ import annotations

import contextlib
import os
import platform
import re
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from sfbench.api.errors import UnsupportedError, UsageError

DISTRIBUTIONS = (
    "sfbench",
    "torch",
    "torchvision",
    "timm",
    "torch-fidelity",
    "clean-fid",
    "numpy",
    "scipy",
    "pillow",
    "safetensors",
    "pluggy",
)
TORCH_DTYPES: Mapping[str, str] = {
    "fp32": "float32",
    "tf32": "float32",
    "bf16": "bfloat16",
    "fp16": "float16",
}
PROC = Path("/proc")
MEMORY_SIGNS = (
    "can't allocate memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


def versions() -> dict[str, str | None]:
    """Return the versions of Python and of every package that can move a number."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def cpu_model() -> str:
    """Return the processor's name, as the system gives it."""
    with contextlib.suppress(OSError):
        text = (PROC / "cpuinfo").read_text()
        match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
        if match:
            return match[1].strip()
    return platform.processor() or platform.machine()


def use_gpu(number: int) -> None:
    """Compute on this GPU of the machine."""
    import torch

    torch.cuda.set_device(number)


def processor(where: str) -> str:
    """Return the name of what computes: the GPU in use, or the CPU."""
    if where == "cpu":
        return cpu_model()
    import torch

    return str(torch.cuda.get_device_name())


def cpu_count() -> int:
    """Return the number of processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpus() -> list[dict[str, Any]]:
    """Return name, driver and memory of every NVIDIA device, asked of the driver; [] without one."""
    import pynvml  # only where hardware is asked about

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        driver = pynvml.nvmlSystemGetDriverVersion()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        return [gpu(handle, str(driver)) for handle in handles]
    finally:
        pynvml.nvmlShutdown()


def gpu(handle: Any, driver: str) -> dict[str, Any]:
    """Return what the driver says of one device; a question it does not answer is None."""
    import pynvml  # only where hardware is asked about

    def asked(question: Any, *arguments: Any) -> Any:
        try:
            return question(handle, *arguments)
        except pynvml.NVMLError:
            return None

    memory = asked(pynvml.nvmlDeviceGetMemoryInfo)
    processes = asked(pynvml.nvmlDeviceGetComputeRunningProcesses)
    return {
        "name": str(asked(pynvml.nvmlDeviceGetName)),
        "driver": driver,
        "memory_bytes": None if memory is None else int(memory.total),
        "power_limit_milliwatts": asked(pynvml.nvmlDeviceGetEnforcedPowerLimit),
        "sm_clock_mhz": asked(pynvml.nvmlDeviceGetClockInfo, pynvml.NVML_CLOCK_SM),
        "throttle_reasons": asked(pynvml.nvmlDeviceGetCurrentClocksEventReasons),
        "other_processes": None if processes is None else len(processes),
    }


def machine_class() -> dict[str, Any]:
    """Return what must be equal for two measurements to be of the same kind. No torch needed."""
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu": cpu_model(),
        "cpus": cpu_count(),
        "gpus": [[entry["name"], entry["driver"]] for entry in gpus()],
        "versions": versions(),
    }


def cpu_quota() -> float | None:
    """Return the processors a control group grants, or None where nothing limits them."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    return None


def pressure() -> float | None:
    """Return the share of the last 10 s (percent) in which something waited for a processor."""
    with contextlib.suppress(OSError, AttributeError):
        text = (PROC / "pressure" / "cpu").read_text()
        match = re.search(r"some avg10=([\d.]+)", text)
        return None if match is None else float(match[1])
    return None


def package_joules() -> float | None:
    """Return the energy counters of the processor packages, added up; None where unreadable."""
    joules = 0.0
    found = False
    with contextlib.suppress(OSError, ValueError):
        for package in Path("/sys/class/powercap").glob("intel-rapl:?"):
            if not (package / "name").read_text().startswith("package"):
                continue  # psys holds the packages already
            joules += int((package / "energy_uj").read_text()) / 1e6
            found = True
    return joules if found else None


def limit_memory(where: str, limit: int) -> None:
    """Make allocations fail beyond `limit` bytes.

    On a GPU: of torch's allocator. On a CPU: of private writable memory (RLIMIT_DATA).
    """
    if where == "cuda":
        from sfbench import cuda

        cuda.limit_memory(limit)
        return
    import resource  # not on every system

    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def release_memory(where: str) -> None:
    """Give back to the device what torch's allocator holds without using it."""
    if where == "cuda":
        from sfbench import cuda

        cuda.reset_allocator_peaks()


def torch_dtype(dtype: str) -> Any:
    """Return torch's type of a case's precision."""
    import torch  # slow

    return getattr(torch, TORCH_DTYPES[dtype])


def available_bytes() -> int | None:
    """Return what the system could give to programs without swapping; None where it does not say."""
    with contextlib.suppress(OSError, AttributeError):
        text = (PROC / "meminfo").read_text()
        match = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
        return None if match is None else int(match[1]) * 1024
    return None


def resolve(name: str) -> Literal["cpu", "cuda"]:
    """Return "cpu" or "cuda" for a --device value ("auto" prefers a GPU). No torch needed.

    Raises UsageError for another name and UnsupportedError for a GPU that is not there.
    """
    present = bool(gpus())
    if name == "auto":
        return "cuda" if present else "cpu"
    if name == "cpu":
        return "cpu"
    if name != "cuda":
        msg = f"--device {name}: expected auto, cpu or cuda"
        raise UsageError(msg)
    if not present:
        msg = "--device cuda: the driver shows no NVIDIA GPU here; use --device cpu"
        raise UnsupportedError(msg)
    return "cuda"


def set_policy(dtype: str, threads: int) -> None:
    """Set the precision of convolutions and matrix products together, and the thread count.

    fp32 means IEEE single precision in both (torch's own default lets convolutions use TF32).
    Raises UnsupportedError for TF32 without a GPU.
    """
    import torch  # slow

    reduced = dtype == "tf32"
    if reduced and not torch.cuda.is_available():
        msg = "dtype tf32 needs an NVIDIA GPU of the Ampere generation or later"
        raise UnsupportedError(msg)
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = reduced
    torch.backends.cudnn.allow_tf32 = reduced
    torch.backends.cudnn.benchmark = True


@contextlib.contextmanager
def strict_precision() -> Iterator[None]:
    """Use IEEE single precision inside, whatever the case's policy: features are always made so."""
    import torch

    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def current_gpu() -> dict[str, str]:
    """Return name and UUID of the GPU that torch uses."""
    import torch

    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    return {"name": properties.name, "uuid": str(getattr(properties, "uuid", "unknown"))}


def global_flags() -> dict[str, Any]:
    """Return torch's process-wide switches that a plugin must leave as they are."""
    import torch  # slow

    return {
        "matmul_tf32": torch.backends.cuda.matmul.allow_tf32,
        "cudnn_tf32": torch.backends.cudnn.allow_tf32,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "cudnn_deterministic": torch.backends.cudnn.deterministic,
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "grad_enabled": torch.is_grad_enabled(),
        "threads": torch.get_num_threads(),
        "default_dtype": str(torch.get_default_dtype()),
    }


def synchronize(device: str) -> None:
    """Wait until the device has done all that was asked of it."""
    if device == "cuda":
        import torch  # slow

        torch.cuda.synchronize()


def out_of_memory(error: BaseException) -> bool:
    """Return whether the error is memory running out, on the device or the host."""
    import torch  # slow

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in MEMORY_SIGNS)


def reset_host_peak() -> bool:
    """Make the process's peak of resident memory begin again; False where the system cannot."""
    try:
        (PROC / "self" / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def host_memory(field: Literal["VmHWM", "VmRSS", "VmData"]) -> int | None:
    """Return the process's peak (VmHWM) or present (VmRSS) resident bytes; None if unknown.

    VmData: private writable bytes, resident or not.
    """
    with contextlib.suppress(OSError):
        text = (PROC / "self" / "status").read_text()
        match = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
        return None if match is None else int(match[1]) * 1024
    return None
