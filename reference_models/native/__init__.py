"""Kernels for CPUs with AVX2: in place of torch's operations, on request.

They are compiled where they are used, by torch's extension mechanism. torch's operations are the
reference: images of Styleformer agree to 5e-6 of the largest value, convolutions agree to rounding.
"""

from __future__ import annotations

from reference_models.native.library import NativeKernelsError
from reference_models.native.use import use_native, use_native_convolutions

__all__ = ["NativeKernelsError", "use_native", "use_native_convolutions"]
