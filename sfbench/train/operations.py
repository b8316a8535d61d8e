"""Floating-point operations of a run: each phase is counted once, when it first runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch
    """Adds up torch's own formulas of operations; its FlopCounterMode fails inside func.grad."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch
        self.total = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[Any],  # torch's signature
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Do the operation and count it."""
        given = dict(kwargs or {})
        out = func(*args, **given)
        formula = flop_registry.get(func.overloadpacket)
        if formula is not None:
            self.total += formula(*args, **given, out_val=out)
        return out


class Operations:
    """Adds up the operations of phases; a multiply-add counts as two."""

    def __init__(self) -> None:
        self.of_phase: dict[str, int] = {}
        self.sum = 0

    @contextlib.contextmanager
    def counted(self, phase: str) -> Iterator[None]:
        """Count what runs inside, the first time; after that add what was counted then."""
        if phase in self.of_phase:
            yield
        else:
            with Counter() as counter:
                yield
            self.of_phase[phase] = counter.total
        self.sum += self.of_phase[phase]

    def taken(self) -> int:
        """Return the sum since the last call."""
        found, self.sum = self.sum, 0
        return found
