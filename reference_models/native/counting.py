"""Formulas by which torch counts the operations of the kernels that train; two a multiply-add."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils.flop_counter import flop_registry, register_flop_formula

Shape = Sequence[int]


def register_formulas() -> None:
    """Tell torch how many operations a call is; the library must be loaded."""
    operations: Any = torch.ops.styleformer
    for name, formula in FORMULAS.items():
        operation = getattr(operations, name)
        if operation not in flop_registry:
            register_flop_formula(operation)(formula)


def of_products(a: Shape, packed: Shape, **_more: object) -> int:
    """Return the operations of `products`: rows [count, rows, depth]."""
    return 2 * math.prod(a) * columns_of(packed)


def of_sums(total: Shape, a: Shape, packed: Shape, **_more: object) -> int:
    """Return the operations of `add_products_to`: factors [count, depth, rows]."""
    del total
    return 2 * math.prod(a) * columns_of(packed)


def of_convolution(x: Shape, packed: Shape, y: Shape, *_taps: object, **_more: object) -> int:
    """Return the operations of `convolve_taps`: kernels [taps, panels, inputs, 16]."""
    del x
    return 2 * math.prod(packed) * math.prod(y[:3])


def of_kernels(
    x: Shape, packed: Shape, down: Sequence[int], *_taps: object, **_more: object
) -> int:
    """Return the operations of `taps_of`: gradients [panels, pixels, 16]."""
    return 2 * math.prod(packed) * len(down) * x[3]


def columns_of(packed: Shape) -> int:
    """Return the columns of matrices in panels [count, panels, depth, 16]."""
    return packed[1] * packed[3]


FORMULAS: Mapping[str, Callable[..., int]] = {
    "products": of_products,
    "add_products_to": of_sums,
    "convolve_taps": of_convolution,
    "taps_of": of_kernels,
}
