"""Convolutions by the kernels: the same tiles, and products that take rows from where they lie."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from reference_models.native.halving import SIDE, Halving, channels_last
from reference_models.native.library import OPERATIONS, load
from reference_models.native.packing import PANEL, pack
from reference_models.winograd import Convolutions

FEWEST_CHANNELS = 64
"""Of a convolution with a stride; below, packing costs more than its products save."""


class NativeConvolutions(Convolutions):
    """Tiles are read from the map once, and written once.

    Matrices whose columns are no multiple of 16 are left to torch. Raises NativeKernelsError where
    the kernels cannot be compiled.
    """

    def __init__(self) -> None:
        load()

    def __reduce__(self) -> tuple[type[NativeConvolutions], tuple[()]]:
        """Return how another process gets them: they are loaded there, too."""
        return NativeConvolutions, ()

    def source(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch height width channels"]:
        """Return the map, channels last: what lies beyond it is known to be zero."""
        return channels_last(x)

    def pixels(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch height width channels"]:
        """Return the map, channels last in memory as well."""
        return channels_last(x)

    def cut(self, source: Tensor, top: int, bottom: int) -> Float[Tensor, "16 tiles channels"]:
        """Return B^T d B of the 4x4 tiles around the pixels of these rows."""
        found: Tensor = OPERATIONS.winograd_tiles(source, top, bottom)
        return found

    def join(
        self,
        products: Float[Tensor, "16 tiles channels"],
        y: Float[Tensor, "batch height width channels"],
        top: int,
        bottom: int,
    ) -> None:
        """Write A^T m A to these rows of a map."""
        OPERATIONS.winograd_untile(products, y, top, bottom)

    def spread(
        self, g: Float[Tensor, "batch height width channels"], top: int, bottom: int
    ) -> Float[Tensor, "16 tiles channels"]:
        """Return A g A^T of the 2x2 tiles of these rows."""
        found: Tensor = OPERATIONS.winograd_spread(g, top, bottom)
        return found

    def packed(self, matrices: Float[Tensor, "16 inputs outputs"]) -> Tensor:
        """Return the matrices as `multiply` takes them."""
        return matrices if matrices.shape[2] % PANEL else pack(matrices)

    def multiply(
        self, rows: Float[Tensor, "16 tiles inputs"], packed: Tensor
    ) -> Float[Tensor, "16 tiles outputs"]:
        """Return the products of rows and `packed` matrices."""
        if packed.dim() == rows.dim():
            return super().multiply(rows, packed)
        found: Tensor = OPERATIONS.products(rows, packed)
        return found

    def add_products(
        self,
        total: Float[Tensor, "16 inputs outputs"],
        first: Float[Tensor, "16 tiles inputs"],
        second: Float[Tensor, "16 tiles outputs"],
    ) -> None:
        """Add first^T second to the total."""
        if second.shape[2] % PANEL:
            super().add_products(total, first, second)
        else:
            OPERATIONS.add_products_to(total, first, pack(second))

    def halved(
        self,
        x: Float[Tensor, "batch inputs height width"],
        weight: Float[Tensor, "outputs inputs 3 3"],
    ) -> Float[Tensor, "batch outputs new_height new_width"]:
        """Return the correlation at every second pixel, without padding."""
        channels = weight.shape[:2]
        if (
            x.is_cpu
            and x.dtype == torch.float32
            and not torch.compiler.is_compiling()
            and min(x.shape[2:]) >= SIDE
            and min(channels) >= FEWEST_CHANNELS
            and not any(count % PANEL for count in channels)
        ):
            y: Tensor = Halving.apply(x, weight)
            return y
        return F.conv2d(x, weight, stride=2)
