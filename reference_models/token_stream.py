"""Tokens that are made a slice at a time, when the next layer asks for them.

A CPU keeps a slice in its cache from one layer's attention through the next layer's normalization;
whole maps would cross memory once an operation. Where `slicing.at_once` holds there is one slice.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

from jaxtyping import Float
from torch import Tensor

from reference_models.resampling import upsampled_rows
from reference_models.slicing import at_once, slices
from reference_models.tokens import map_to_tokens, tokens_to_map

SLICE_TOKENS = 2048
"""Tokens at once."""
LEAST_ROWS = 4
"""Rows of the image at once, at least: doubling a row reads one more above and below."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TokenStream:
    """So many `tokens` an image; `make` gives each of the `parts` [batch, part, channels] in order.

    Each part is made once. `store` is memory whose part may be overwritten as soon as that part was
    made. `half`: the tokens of the map of half the side that these are interpolated from, and
    `position` what is added to them.
    """

    tokens: int
    parts: Sequence[slice]
    make: Callable[[slice], Tensor]
    store: Tensor | None = None
    half: Tensor | None = None
    position: Tensor | None = None

    @classmethod
    def of(cls, x: Float[Tensor, "batch tokens channels"]) -> TokenStream:
        """Return the stream of tokens that are there."""
        tokens = x.shape[1]
        return cls(tokens=tokens, parts=token_slices(x, tokens), make=lambda part: x[:, part])

    @classmethod
    def doubled(cls, x: Float[Tensor, "batch tokens channels"]) -> TokenStream:
        """Return the stream of the tokens of the map at twice the side (`resampling.upsample2d`)."""
        image = tokens_to_map(x)
        side = 2 * image.shape[2]

        def rows(part: slice) -> Tensor:
            start, stop = part.start or 0, side * side if part.stop is None else part.stop
            found = upsampled_rows(image, start // side, stop // side)
            return map_to_tokens(found).contiguous()

        tokens = side * side
        return cls(tokens=tokens, parts=token_slices(x, tokens), make=rows, half=x)

    def plus(self, other: Float[Tensor, "1 tokens channels"]) -> TokenStream:
        """Return the stream of the sums."""
        return dataclasses.replace(
            self, make=lambda part: self.make(part) + other[:, part], position=other
        )

    def gathered(self) -> Float[Tensor, "batch tokens channels"]:
        """Return all tokens."""
        return filled(self, self.make)


def token_slices(like: Tensor, tokens: int) -> list[slice]:
    """Return the slices of that many tokens to work on one after the other, whole rows each."""
    if at_once(like):
        return [slice(None)]
    side = math.isqrt(tokens)
    step = max(LEAST_ROWS, SLICE_TOKENS // side) * side
    return [slice(None)] if step >= tokens else slices(tokens, step)


def each(
    stream: TokenStream, function: Callable[[slice], Tensor], *, keep: bool
) -> Float[Tensor, "batch tokens channels"] | None:
    """Call function(part) for all parts of the stream; return what they give if it is to be kept."""
    if keep:
        return filled(stream, function)
    for part in stream.parts:
        function(part)
    return None


def filled(
    stream: TokenStream, function: Callable[[slice], Tensor]
) -> Float[Tensor, "batch tokens channels"]:
    """Return function(part) of all parts of the stream, in the stream's store if it fits."""
    if len(stream.parts) == 1:
        return function(stream.parts[0])
    store = stream.store
    for part in stream.parts:
        piece = function(part)
        if store is None or store.shape[2] != piece.shape[2]:
            store = piece.new_empty(piece.shape[0], stream.tokens, piece.shape[2])
        store[:, part] = piece
    assert store is not None  # noqa: S101  # there are parts
    return store
