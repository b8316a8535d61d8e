"""Builds the GANsformer from a request."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import torch
from torch import Tensor

from reference_models.checkpoints import (
    holds_another,
    load_tensors,
    of_another_size,
    read_checkpoint,
)
from reference_models.equalized import initialize
from reference_models.gansformer import Gansformer
from reference_models.gansformer_config import GansformerConfig
from reference_models.gansformer_presets import preset
from sfbench.api import (
    AttentionLayer,
    BuildRequest,
    Latents,
    ModuleGenerator,
    UsageError,
    WeightsError,
)

OVERRIDES = ("components", "latent_dim", "channel_base", "channel_max")


def gansformer(request: BuildRequest) -> GansformerGenerator:
    """Return the generator with the file's weights or random ones."""
    return adapt(*loaded(request), request)


def adapt(
    network: Gansformer, config: GansformerConfig, request: BuildRequest
) -> GansformerGenerator:
    """Return the network as an ImageGenerator with the requested noise and truncation."""
    options: Any = request.options
    return GansformerGenerator(
        network,
        request,
        noise=options["noise"],
        truncation_psi=options["truncation_psi"],
        architecture=dataclasses.asdict(config),
    )


def wanted(request: BuildRequest) -> GansformerConfig:
    """Return the sizes that were asked for; raises UsageError for those that cannot be built."""
    options: Any = request.options
    changes = {name: options[name] for name in OVERRIDES if options[name] is not None}
    try:
        return preset(
            options["preset"],
            request.resolution,
            duplex=options["attention"] == "duplex",
            **changes,
        )
    except ValueError as error:
        raise UsageError(str(error)) from None


def loaded(request: BuildRequest) -> tuple[Gansformer, GansformerConfig]:
    """Return the network; a file says its sizes. Raises WeightsError where it does not fit."""
    config = wanted(request)
    if request.weights is None:
        network = Gansformer(config)
        initialize(network, torch.Generator().manual_seed(request.seed))
        return network, config
    try:
        checkpoint = read_checkpoint(request.weights)
        found = checkpoint.config or config
        if not isinstance(found, GansformerConfig):
            raise ValueError(holds_another(checkpoint, "GANsformer"))  # noqa: TRY004, TRY301  # one kind of complaint about files
        if found.resolution != request.resolution:
            raise ValueError(of_another_size(found.resolution, request.resolution))  # noqa: TRY301
        network = Gansformer(found)
        load_tensors(network, checkpoint.tensors)
    except ValueError as error:
        msg = f"{request.weights}: {error}"
        raise WeightsError(msg) from None
    network.weights_read = checkpoint.notes
    return network, found


class GansformerGenerator(ModuleGenerator):
    """The GANsformer with styles (of all latents, one after the other) and maps of its components."""

    def __init__(
        self,
        network: Gansformer,
        request: BuildRequest,
        *,
        noise: str,
        truncation_psi: float,
        architecture: dict[str, Any],
    ) -> None:
        config = network.config
        fixed: dict[str, Any] = {} if noise == "random" else {"noise": noise}
        super().__init__(
            network,
            request,
            latent_shape=(config.latents, config.latent_dim),
            classes=config.c_dim,
            noise_shapes=network.noise_shapes if noise == "random" else (),
            architecture=architecture,
            forward=functools.partial(network, truncation_psi=truncation_psi, **fixed),
        )
        self.network, self.noise = network, noise
        sides = [side for _, side, _ in network.noise_shapes]
        self.style_resolutions = (*sides, config.resolution, config.resolution)
        names = [
            name.removeprefix("synthesis.").removesuffix(".transformer")
            for name, _ in network.named_modules()
            if name.endswith(".transformer")
        ]
        attention = config.attention
        self.component_layers = [
            AttentionLayer(
                name,
                int(name.partition(".")[0].removeprefix("b")),
                heads=1 if attention is None else attention.heads,
                keys=config.components,
            )
            for name in names
        ]

    def noise_of(self, latents: Latents) -> Any:
        """Return the noise that images of these latents have."""
        return latents.noise if self.noise == "random" else self.noise

    def styles(self, latents: Latents) -> Tensor:
        """Return the style vectors [batch, num_ws, latents * width], not truncated."""
        return self.network.styles(latents.z, latents.c).transpose(1, 2).flatten(2)

    def mean_style(self) -> Tensor:
        """Return the mean style vector, the same for every latent."""
        mean: Tensor = self.network.mapping.w_avg
        return mean.repeat(self.network.config.latents)

    def synthesize_styles(self, styles: Tensor, latents: Latents) -> Tensor:
        """Return images [batch, channels, side, side] of these styles, with the latents' noise."""
        return self.network.synthesis(  # type: ignore[no-any-return]  # nn.Module.__call__
            self.by_latent(styles), self.noise_of(latents), self.network.pos
        )

    def by_latent(self, styles: Tensor) -> Tensor:
        """Return styles as the network takes them: [batch, latents, num_ws, width]."""
        count = self.network.config.latents
        return styles.view(*styles.shape[:2], count, -1).transpose(1, 2)

    def component_maps(self, latents: Latents, layer: str) -> Tensor:
        """Return how much each place attends to each component."""
        place = [one.name for one in self.component_layers].index(layer)
        ws = self.by_latent(self.styles(latents))
        return self.network.attention(ws, self.noise_of(latents))[place][1]
