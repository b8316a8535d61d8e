"""Floating-point operations of what runs, by torch's own formulas; a multiply-add counts as two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

HOW = "torch's formulas (torch.utils.flop_counter)"


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch
    """Adds up the operations of matrix products, convolutions and attention.

    Torch's own FlopCounterMode fails inside func.grad, and loads the compiler, which takes seconds.
    """

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch
        self.total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return that the compiler need not be loaded to be kept out: torch's way to say so."""
        return False

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[Any],  # torch's signature
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Do the operation and count it; one without a formula counts by what it is made of."""
        given = dict(kwargs or {})
        formula = flop_registry.get(getattr(func, "overloadpacket", func))
        if formula is None and isinstance(func, torch._ops.OpOverload):  # noqa: SLF001  # no other name
            # In inference mode, linear layers come whole; elsewhere as the products they are made of.
            with self:
                parts = func.decompose(*args, **given)
            if parts is not NotImplemented:
                return parts
        out = func(*args, **given)
        if formula is not None:
            self.total += int(formula(*args, **given, out_val=out))
        return out
