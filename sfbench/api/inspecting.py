"""What a generator may offer for inspection, beside images: styles and attention.

Both are optional and detected by their attributes. torch appears in annotations only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor


@runtime_checkable
class StyleBased(Protocol):
    """A generator whose images are made from style vectors, one per layer (arXiv 1812.04948).

    `style_resolutions` holds, for each style vector that is used, in order, the side in pixels of
    the first layer it enters.
    """

    style_resolutions: Sequence[int]

    def styles(self, latents: Any) -> Tensor:
        """Return the style vectors [batch, layers, width], not truncated."""
        ...

    def mean_style(self) -> Tensor:
        """Return the mean style vector [width], toward which truncation pulls."""
        ...

    def synthesize_styles(self, styles: Tensor, latents: Any) -> Tensor:
        """Return images as `synthesize` does, from these styles, with the noise of the latents."""
        ...


class AttentionLayer(NamedTuple):
    """One attention layer: its name, the side of its map in pixels, its heads and keys."""

    name: str
    resolution: int
    heads: int
    keys: int


class AttentionMaps(NamedTuple):
    """What queries attend to: `weights` [batch, heads, queries, keys], rows that add up to 1.

    `cover` [keys, tokens]: the projection that made each key of the map's tokens (arXiv 2006.04768,
    equation 7), or None if key i is token i. Tokens are in row-major order.
    """

    weights: Tensor
    cover: Tensor | None = None


@runtime_checkable
class LatentAttentive(Protocol):
    """A generator whose places attend to a few latents, such as the GANsformer's components.

    `component_layers`: its attention layers; `keys` is the number of latents.
    """

    component_layers: Sequence[AttentionLayer]

    def component_maps(self, latents: Any, layer: str) -> Tensor:
        """Return how much each place attends to each latent: [batch, heads, latents, side, side].

        The numbers of a place add up to 1 over the latents.
        """
        ...


@runtime_checkable
class Attentive(Protocol):
    """A generator with attention layers over the tokens of a square map."""

    attention_layers: Sequence[AttentionLayer]

    def attention(self, latents: Any, layer: str, queries: Sequence[int]) -> AttentionMaps:
        """Return what these query tokens of a layer attend to."""
        ...
