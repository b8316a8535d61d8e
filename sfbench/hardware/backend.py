"""What every kind of device can be asked; a backend that has no answer keeps the one given here."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from sfbench.api.errors import UnsupportedError
from sfbench.hardware.places import Place

if TYPE_CHECKING:
    from torch import Tensor

Precision = str
"""A case's precision: "fp32", "tf32", "bf16" or "fp16"."""


@dataclasses.dataclass(frozen=True, slots=True)
class AllocatorPeaks:
    """Bytes that torch's allocator of the device gave out at most, held at most, and its retries."""

    allocated: int
    requested: int
    reserved: int
    retries: int
    """Since the process started."""


@dataclasses.dataclass(frozen=True, slots=True)
class ClockState:
    """The device's clock in MHz, the driver's reasons for its being low as bits, and what they mean."""

    megahertz: int | None
    reasons: int | None
    held_down: bool
    """Whether power or heat throttled the clock."""


@contextlib.contextmanager
def event_span(event: Callable[[], Any]) -> Iterator[list[float]]:
    """Measure a span by two of torch's timing events: the list holds its seconds afterwards."""
    begin, end = event(), event()
    seconds: list[float] = []
    begin.record()
    yield seconds
    end.record()
    end.synchronize()
    seconds.append(begin.elapsed_time(end) / 1000)


class Backend(abc.ABC):
    """One device, as torch names it: "cpu", "cuda", "cuda:1"."""

    kind: ClassVar[str]
    """torch's name of this kind of device."""
    preference: ClassVar[int]
    """`--device auto` takes the kind with the highest number that is present."""
    is_host: ClassVar[bool] = False
    """Whether it is the host itself, to which its accelerators make no difference."""
    visibility_variable: ClassVar[str | None] = None
    """Environment variable by which users hide devices of this kind."""
    default_samples: ClassVar[int]
    """Images per set for quality where the user does not say."""
    warmup_seconds: ClassVar[float]
    """Least seconds of warm-up before each timed pass."""
    roof_side: ClassVar[int]
    """Side of the square matrices whose product measures the arithmetic roof."""
    roof_bytes: ClassVar[int]
    """Bytes copied to measure the memory roof."""
    precisions: ClassVar[frozenset[Precision]]
    process_group: ClassVar[str] = "gloo"
    """torch.distributed's backend for several processes."""
    memory_limit_acts_on: ClassVar[str]
    energy_counter: ClassVar[str]
    few_images_at_a_time: ClassVar[bool] = False
    """Whether resizing a few images at a time is faster, because they stay in a cache."""

    def __init__(self, index: int = 0) -> None:
        self.index = index

    @property
    def name(self) -> str:
        """Torch's name of this device; the first of its kind has none of its own."""
        return f"{self.kind}:{self.index}" if self.index else self.kind

    @classmethod
    @abc.abstractmethod
    def present(cls) -> list[dict[str, Any]]:
        """Return facts of every device of this kind, asked without torch; [] for none.

        Accelerators give "name" and "driver" at least; they are part of a machine's identity.
        """

    @classmethod
    def places(cls, shown: str | None) -> list[Place]:  # noqa: ARG003  # such a variable is rare
        """Return the devices that this process may use, asked without torch.

        `shown`: the value of `visibility_variable`; None where it is not set.
        """
        return [
            Place(
                kind=cls.kind,
                index=index,
                name=str(facts["name"]),
                unique=f"{cls.kind}-{index}",
                driver=facts.get("driver"),
            )
            for index, facts in enumerate(cls.present())
        ]

    @abc.abstractmethod
    def processor(self) -> str:
        """Return the name of what computes."""

    @abc.abstractmethod
    def synchronize(self) -> None:
        """Wait until the device has finished all queued work."""

    def use(self) -> None:  # noqa: B027  # where there is one device, it is in use
        """Make this the device that torch computes on where only the kind is named."""

    def of_process(self, local_rank: int) -> Backend:  # noqa: ARG002  # the host is one for all
        """Return the device of one of several processes on this machine, by its number."""
        return self

    def identity(self) -> dict[str, str] | None:
        """Return name and UUID of an accelerator; None for the host."""
        return None

    def check_precision(self, precision: Precision) -> None:
        """Raise UnsupportedError for a precision that the device does not have."""
        if precision not in self.precisions:
            msg = f"precision {precision} on {self.name}: expected {', '.join(sorted(self.precisions))}"
            raise UnsupportedError(msg)

    def lacks(self, precision: Precision) -> str | None:  # noqa: ARG002  # accelerators have their own
        """Return the instructions that would make a precision fast; None where they are there."""
        return None

    def span(self) -> contextlib.AbstractContextManager[list[float]]:
        """Measure a span on the device's own clock: the list holds its seconds afterwards.

        The list stays empty if the device has no clock of its own.
        """
        return contextlib.nullcontext([])

    def reset_peaks(self) -> None:  # noqa: B027  # nothing to reset
        """Give unused memory back, and make the allocator's peaks begin again at the present use."""

    def peaks(self) -> AllocatorPeaks | None:
        """Return the allocator's peaks since `reset_peaks`; None where memory is the host's."""
        return None

    def pools(self) -> dict[str, int]:
        """Return the bytes that the allocator holds, by memory pool."""
        return {}

    def bytes_in_use(self) -> int | None:
        """Return the bytes in use on the whole device, by every process, context and library."""
        return None

    @abc.abstractmethod
    def limit_memory(self, limit: int) -> None:
        """Make allocations fail beyond `limit` bytes, of what `memory_limit_acts_on` says."""

    def memory_ceiling(self) -> int | None:
        """Return the bytes beyond which the system, not the allocator, would say no; None: none."""
        return None

    def clock(self) -> ClockState | None:
        """Return the state of the device's clock; None where it cannot be asked."""
        return None

    def energy_joules(self) -> float | None:
        """Return the reading of `energy_counter`; None where it cannot be read."""
        return None

    def captured(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:  # noqa: ARG002
        """Return a graph of `work` as (replay, its output tensor, overwritten by each replay).

        Raises UnsupportedError where the device has no graphs.
        """
        msg = "mode cuda-graph needs an NVIDIA GPU; use eager or compile"
        raise UnsupportedError(msg)

    def upload(self, tensor: Tensor) -> Tensor:
        """Return a host tensor on the device."""
        return tensor.to(self.name)
