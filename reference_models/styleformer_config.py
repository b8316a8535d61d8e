"""What fixes a Styleformer: its sizes, and the switches of the paper's ablation.

Source: Park and Kim, "Styleformer" (CVPR 2022, arXiv 2106.07023). The definitions of the switches
are ours; reference_models/README.md lists them.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

StyleInjection = Literal["per-layer", "shared"]
PreNorm = Literal["after-modulation", "before-modulation", "none"]
Residual = Literal["modulated-value", "identity", "none"]
PositionEncoding = Literal["learned", "sinusoidal", "none"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StyleformerConfig:
    """Everything that fixes a Styleformer: sizes first, then the ablation switches.

    `widths` and `layers` hold one entry per resolution: start, 2 start, 4 start, ...
    Raises ValueError when they do not fit together.
    """

    widths: tuple[int, ...]
    layers: tuple[int, ...]
    start_resolution: int = 8
    linformer: bool = False
    z_dim: int = 512
    c_dim: int = 0
    w_dim: int = 512
    image_channels: int = 3
    mapping_layers: int = 2
    embed_features: int | None = None
    layer_features: int | None = None
    head_width: int = 32
    minimum_heads: int = 1
    clamp: float | None = 256.0
    style_injection: StyleInjection = "per-layer"
    pre_norm: PreNorm = "after-modulation"
    feed_forward: bool = False
    residual: Residual = "modulated-value"
    position_encoding: PositionEncoding = "learned"

    def __post_init__(self) -> None:
        """Refuse what cannot be built, saying why."""
        if len(self.widths) != len(self.layers) or not self.widths or min(self.layers) < 1:
            msg = (
                f"widths {self.widths} and layers {self.layers}: one entry (at least 1 layer) "
                "per resolution is needed in both"
            )
            raise ValueError(msg)
        for width in self.widths:
            if width % self.heads(width):
                msg = f"width {width} is not divisible by its {self.heads(width)} attention heads"
                raise ValueError(msg)

    @property
    def resolutions(self) -> tuple[int, ...]:
        """The resolutions with encoder blocks, from the first to the image's own."""
        return tuple(self.start_resolution << step for step in range(len(self.widths)))

    @property
    def resolution(self) -> int:
        """Side of the image in pixels."""
        return self.resolutions[-1]

    @property
    def num_ws(self) -> int:
        """Number of style vectors: one a layer and one a resolution.

        An image's color layer uses the index of the layer after it, so the last
        `len(widths) - 1` vectors are never read (as in the released program).
        """
        return sum(self.layers) + len(self.layers)

    def heads(self, width: int) -> int:
        """Return the number of attention heads of a layer of that width."""
        return max(self.minimum_heads, width // self.head_width)
