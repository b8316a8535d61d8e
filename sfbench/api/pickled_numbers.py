"""NumPy arrays and numbers in pickles, rebuilt from their type, shape and bytes."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from sfbench.api.pickles import Global, Object, PickleError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CORES = ("numpy.core.multiarray", "numpy._core.multiarray")
DTYPE, NDARRAY = Global("numpy", "dtype"), Global("numpy", "ndarray")
SCALARS = frozenset(Global(core, "scalar") for core in CORES)
ARRAYS = frozenset(Global(core, "_reconstruct") for core in CORES)
NAMES = SCALARS | ARRAYS | {DTYPE, NDARRAY, Global("_codecs", "encode")}
NUMERIC = re.compile(r"b1|[iu][1248]|f[248]")
BYTE_ORDERS = {"<": "<", ">": ">", "|": "|", "=": "="}
MOST_DIMENSIONS, LONGEST = 32, 1 << 40
STATE_LENGTH = 5


def dtype_of(value: Any) -> np.dtype[Any]:
    """Return a numeric type from its code and byte order; raises PickleError for any other."""
    import numpy as np  # slow to import

    code = value.arguments[0] if is_made_by(value, {DTYPE}) and value.arguments else None
    if not isinstance(code, str) or not NUMERIC.fullmatch(code):
        found = code[:40] if isinstance(code, str) else kind_of(code)
        msg = f"values of type {found!r}: expected numbers"
        raise PickleError(msg)
    state = value.state
    order = state[1] if isinstance(state, tuple) and len(state) > 1 else "="
    if not isinstance(order, str) or order not in BYTE_ORDERS:
        msg = "numbers with an unknown byte order"
        raise PickleError(msg)
    return np.dtype(BYTE_ORDERS[order] + code)


def array_of(value: Any) -> NDArray[Any]:
    """Return a pickled array of numbers, a read-only view of the file's bytes.

    Raises PickleError if type, shape and number of bytes do not match.
    """
    import numpy as np  # slow to import

    state = value.state if is_made_by(value, ARRAYS) else None
    if not isinstance(state, tuple) or len(state) != STATE_LENGTH:
        msg = f"a {kind_of(value)}: expected an array of numbers"
        raise PickleError(msg)
    _, shape, dtype, fortran, content = state
    kind = dtype_of(dtype)
    if isinstance(content, str):
        content = latin1(content)
    sizes = isinstance(shape, tuple) and len(shape) <= MOST_DIMENSIONS
    if not sizes or not all(type(n) is int and 0 <= n < LONGEST for n in shape):
        msg = "an array without a shape"
        raise PickleError(msg)
    if not isinstance(content, bytes) or len(content) != math.prod(shape) * kind.itemsize:
        held = f"{len(content)} bytes" if isinstance(content, bytes) else kind_of(content)
        msg = f"an array {kind} {shape} that holds {held}: expected {math.prod(shape)} numbers"
        raise PickleError(msg)
    try:
        return np.frombuffer(content, kind).reshape(shape, order="F" if fortran else "C")
    except ValueError:
        msg = "an array of impossible shape"
        raise PickleError(msg) from None


def number_of(value: Any) -> Any:
    """Return a pickled NumPy number as a Python number; raises PickleError for anything else."""
    import numpy as np  # slow to import

    arguments: tuple[Any, ...] = value.arguments if is_made_by(value, SCALARS) else ()
    if len(arguments) != 2:  # noqa: PLR2004  # type and bytes
        msg = f"a {kind_of(value)}: expected a number"
        raise PickleError(msg)
    kind, content = dtype_of(arguments[0]), arguments[1]
    if isinstance(content, str):
        content = latin1(content)
    if not isinstance(content, bytes) or len(content) != kind.itemsize:
        msg = f"a number of type {kind}: expected {kind.itemsize} bytes"
        raise PickleError(msg)
    return np.frombuffer(content, kind)[0].item()


def latin1(text: str) -> bytes:
    """Return the bytes that Python 2 wrote as text; raises PickleError for other text."""
    try:
        return text.encode("latin1")
    except UnicodeEncodeError:
        msg = "text where the bytes of numbers were expected"
        raise PickleError(msg) from None


def is_made_by(value: Any, names: set[Global] | frozenset[Global]) -> bool:
    """Return whether a value is an object that one of these would make."""
    return isinstance(value, Object) and value.made_by in names


def kind_of(value: Any) -> str:
    """Return what a value is, for messages."""
    return str(value.made_by)[:80] if isinstance(value, Object) else type(value).__name__
