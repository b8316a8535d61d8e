"""torch's process-wide settings that decide numbers: precision, threads, and how memory runs out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sfbench.hardware.backend import Backend

TORCH_DTYPES: Mapping[str, str] = {
    "fp32": "float32",
    "tf32": "float32",
    "bf16": "bfloat16",
    "fp16": "float16",
    "int8": "qint8",
}
MEMORY_SIGNS = (
    "can't allocate memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "MPS backend out of memory",
)


def torch_dtype(dtype: str) -> Any:
    """Return torch's type of a case's precision."""
    import torch  # slow

    return getattr(torch, TORCH_DTYPES[dtype])


def set_policy(backend: Backend, dtype: str, threads: int) -> None:
    """Compute on this device, in this precision and with this many threads.

    The precision of convolutions and of matrix products is set together. fp32 means IEEE single
    precision in both (torch's own default lets convolutions use TF32). Raises UnsupportedError for
    a precision that the device does not have.
    """
    import torch  # slow

    backend.check_precision(dtype)
    backend.use()
    reduced = dtype == "tf32"
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = reduced
    torch.backends.cudnn.allow_tf32 = reduced
    torch.backends.cudnn.benchmark = True


@contextlib.contextmanager
def kept_settings() -> Iterator[None]:
    """Put torch's settings back afterwards, whatever is set inside."""
    flags = global_flags()
    try:
        yield
    finally:
        restore_flags(flags)


def restore_flags(flags: Mapping[str, Any]) -> None:
    """Set torch's process-wide switches as `global_flags` returned them.

    Only those that differ are set: one of them imports torch's compilers, which takes a second.
    """
    import torch  # slow

    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    setters: Mapping[str, Callable[[Any], object]] = {
        "matmul_tf32": lambda value: setattr(cuda, "allow_tf32", value),
        "cudnn_tf32": lambda value: setattr(cudnn, "allow_tf32", value),
        "cudnn_benchmark": lambda value: setattr(cudnn, "benchmark", value),
        "cudnn_deterministic": lambda value: setattr(cudnn, "deterministic", value),
        "deterministic_algorithms": torch.use_deterministic_algorithms,
        "grad_enabled": torch.set_grad_enabled,
        "threads": torch.set_num_threads,
        "default_dtype": lambda name: torch.set_default_dtype(
            getattr(torch, name.removeprefix("torch."))
        ),
    }
    for name in changed_flags(flags):
        setters[name](flags[name])


def changed_flags(before: Mapping[str, Any]) -> list[str]:
    """Return the names of torch's process-wide switches that are not as they were."""
    now = global_flags()
    return [name for name, was in before.items() if now[name] != was]


@contextlib.contextmanager
def strict_precision() -> Iterator[None]:
    """Use IEEE single precision inside the block, whatever the case's policy: for features."""
    import torch

    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


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


def out_of_memory(error: BaseException) -> bool:
    """Return whether the error is memory running out, on the device or the host."""
    import torch  # slow

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in MEMORY_SIGNS)
