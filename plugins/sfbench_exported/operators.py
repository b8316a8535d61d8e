"""Which operators a program may call: torch's own, of tensors and numbers, none that reads files."""

from __future__ import annotations

import functools
import re

import torch

from sfbench_exported.refusal import RefusedError, need

PYTHON = frozenset(
    [f"_operator.{name}" for name in (
        "add", "and_", "eq", "floordiv", "ge", "gt", "le", "lt", "mod", "mul", "ne", "neg", "or_",
        "pos", "pow", "sub", "truediv",
    )]
    + [f"math.{name}" for name in ("ceil", "floor", "trunc")]
    + [f"torch.sym_{name}" for name in ("float", "int", "ite", "max", "min", "not", "sqrt", "sum")]
)  # fmt: skip
HIGHER_ORDER = frozenset(
    f"torch.ops.higher_order.{name}"
    for name in ("cond", "map_impl", "scan", "while_loop", "wrap_with_autocast",
                 "wrap_with_set_grad_enabled")
)  # fmt: skip
OPERATOR = re.compile(r"torch\.ops\.aten\.(\w+)\.(\w+)", re.ASCII)
WORDS = frozenset(
    {
        "UPLO", "approximate", "assert_msg", "driver", "equation", "indexing", "interpolation",
        "mode", "norm", "ord", "p", "pad_mode", "padding", "padding_side", "reduce",
        "rounding_mode", "side",
    }
)  # fmt: skip
"""Arguments that take a word of a closed list; any other text could be the name of a file."""
HOLDERS = re.compile(r"Stream|Storage|__torch__|Any|Future|Capsule")
REFUSED = re.compile(
    r"from_file|save|load|\w*resize\w*|set_?|set_data|set_source\w*|record_stream|_?pin_memory"
    r"|is_pinned|_print|_test\w*|_cudnn\w*|_cufft\w*|_mkldnn\w*|_nested\w*|_sparse\w*|sparse_\w*"
    r"|to_sparse\w*|to_mkldnn|\w*_unsafe|_unsafe_(?!view$|index$)\w*|_foreach\w*|_fused_\w*"
    r"|_amp\w*|_make_\w*|_copy_from\w*|_?backward|data|retain_grad|requires_grad_|rename_?"
)
"""Operators that touch files, storages, memory beyond a tensor, or gradients."""


@functools.cache
def check_operator(target: object) -> None:
    """Raise RefusedError for an operator that is not one of torch's on tensors and numbers."""
    if target in PYTHON | HIGHER_ORDER:
        return
    found = OPERATOR.fullmatch(target) if isinstance(target, str) else None
    if found is None:
        msg = f"operator {target!r:.80} is a custom one, or none of torch's"
        raise RefusedError(msg)
    name, overload = found.groups()
    need(not REFUSED.fullmatch(name), f"operator {target} is none that makes images")
    schema = schema_of(name, "" if overload == "default" else overload)
    need(schema is not None, f"operator {target} is not in this version of torch")
    for argument in schema.arguments if schema else ():
        kind = str(argument.type)
        plain = "str" not in kind or argument.name in WORDS
        need(plain, f"operator {target} takes text in {argument.name}")
        need(not HOLDERS.search(kind), f"operator {target} takes a {kind}")


def schema_of(name: str, overload: str) -> torch._C.FunctionSchema | None:
    """Return the schema of a dispatched operator of aten; None for one that does not exist."""
    try:
        # Operators of TorchScript alone, such as aten::save, are not dispatched.
        torch._C._dispatch_find_schema_or_throw(f"aten::{name}", overload)  # noqa: SLF001
        found = getattr(getattr(torch.ops.aten, name), overload or "default")
    except (RuntimeError, AttributeError):
        return None
    schema: torch._C.FunctionSchema = found._schema  # noqa: SLF001
    return schema
