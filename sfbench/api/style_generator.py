"""The adapter for modules of the StyleGAN family: a mapping network, then a synthesis network."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from sfbench.api.latents import Latents
from sfbench.api.module_generator import ModuleGenerator
from sfbench.api.spec import BuildRequest, Option

if TYPE_CHECKING:
    from torch import Tensor

NOISE = Option(
    name="noise",
    kind="str",
    default="random",
    choices=("random", "const", "none"),
    help="per-pixel noise; the official code of Styleformer always uses random",
)
TRUNCATION = Option(
    name="truncation_psi", kind="float", default=1.0, help="truncation toward the mean w"
)
STYLE_OPTIONS = (
    Option(
        name="c_dim",
        kind="int",
        least=0,
        most=1000000,
        default=0,
        help="number of classes (0: unconditional)",
    ),
    Option(
        name="mapping_layers",
        kind="int",
        least=1,
        most=1000,
        default=2,
        help="layers of the mapping network",
    ),
    NOISE,
    TRUNCATION,
)
"""What every generator of this family takes."""


class StyleModule(Protocol):
    """What the adapter requires of an nn.Module: see `StyleModuleGenerator`."""

    @property
    def mapping(self) -> Any:
        """The mapping network, with `z_dim`, `c_dim` and the running mean `w_avg` [width]."""

    @property
    def synthesis(self) -> Any:
        """The synthesis network."""

    @property
    def num_ws(self) -> int:
        """Number of style vectors that the synthesis network takes."""

    @property
    def noise_shapes(self) -> Sequence[Sequence[int]]:
        """Shape of one image's noise in each layer."""

    @property
    def style_resolutions(self) -> Sequence[int]:
        """See `StyleBased`."""


class StyleModuleGenerator(ModuleGenerator):
    """A `ModuleGenerator` that is also `StyleBased`.

    The module's `forward(z, c, noise=, truncation_psi=)` makes images; its `mapping(z, c)` makes
    styles and `synthesis(ws, noise)` images from them; `num_ws`: one style vector per layer, of
    `style_resolutions` used. `noise`: "random" (drawn for each image), "const" or "none".
    """

    def __init__(
        self,
        module: StyleModule,
        request: BuildRequest,
        *,
        noise: str,
        truncation_psi: float,
        architecture: Mapping[str, Any],
    ) -> None:
        fixed = {} if noise == "random" else {"noise": noise}
        whole: Any = module
        super().__init__(
            whole,
            request,
            latent_shape=(module.mapping.z_dim,),
            classes=module.mapping.c_dim,
            noise_shapes=module.noise_shapes if noise == "random" else (),
            architecture=architecture,
            forward=functools.partial(whole, truncation_psi=truncation_psi, **fixed),
        )
        self.style_module = module
        self.style_resolutions = tuple(module.style_resolutions)
        self.noise = noise

    def styles(self, latents: Latents) -> Tensor:
        """Return the style vectors [batch, num_ws, width], not truncated."""
        w: Tensor = self.style_module.mapping(latents.z, latents.c)
        return w.unsqueeze(1).repeat(1, self.style_module.num_ws, 1)

    def mean_style(self) -> Tensor:
        """Return the mean style vector [width]."""
        mean: Tensor = self.style_module.mapping.w_avg
        return mean

    def synthesize_styles(self, styles: Tensor, latents: Latents) -> Tensor:
        """Return images [batch, channels, side, side] of these styles, with the latents' noise."""
        noise = latents.noise if self.noise == "random" else self.noise
        images: Tensor = self.style_module.synthesis(styles, noise)
        return images
