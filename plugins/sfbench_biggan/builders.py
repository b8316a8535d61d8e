"""Builds BigGAN and BigGAN-deep from a request."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from reference_models.biggan import Attention, BigGAN, accumulate_standing, resume_standing
from reference_models.biggan_config import PRESETS, BigGANConfig, by_resolution
from reference_models.biggan_files import with_own_norms
from reference_models.checkpoints import (
    holds_another,
    load_tensors,
    of_another_size,
    read_checkpoint,
)
from reference_models.spectral_norm import folded
from sfbench.api import (
    AttentionLayer,
    AttentionMaps,
    BuildRequest,
    Latents,
    LatentSource,
    ModuleGenerator,
    UsageError,
    WeightsError,
)

STANDING_SEED = 1 << 40
"""Latents of standing statistics are those of the seeds from here on: no image's."""
OVERRIDES = {
    "channels": "channels",
    "z_dim": "z_dim",
    "c_dim": "classes",
    "shared_dim": "shared_dim",
}
EPSILONS = ("norm_eps", "spectral_eps")


def biggan(request: BuildRequest, *, deep: bool) -> ModuleGenerator:
    """Return the generator with the file's weights or random ones, its spectral norms folded in.

    Raises UsageError for sizes that cannot be built, WeightsError for a file that does not fit.
    """
    return adapt(*initial(request, deep=deep), request)


def initial(request: BuildRequest, *, deep: bool) -> tuple[BigGAN, BigGANConfig]:
    """Return the network with its weights, and its sizes."""
    config = wanted(request, deep=deep)
    if request.device == "meta":
        with torch.device("meta"):
            return BigGAN(config), config
    if request.weights is not None:
        return loaded(request, config)
    network = BigGAN(config)
    network.reset_parameters(torch.Generator().manual_seed(request.seed))
    return network, config


def adapt(network: BigGAN, config: BigGANConfig, request: BuildRequest) -> ModuleGenerator:
    """Return the network as an ImageGenerator with the requested latents and statistics.

    Its spectral norms are folded in: it learns no more.
    """
    options: Any = request.options
    told = dataclasses.asdict(config) | {"statistics": options["statistics"]}
    if options["statistics"] == "standing":
        network, config = standing(network, config, options, meta=request.device == "meta")
        told |= {
            "standing_batches": options["standing_batches"],
            "standing_batch": options["standing_batch"],
            "standing_seed": STANDING_SEED,
        }
    generator = BigGANGenerator(
        folded(network),
        request,
        latent_shape=(config.drawn,),
        classes=config.classes,
        architecture=told,
    )
    generator.source = drawn_as(options, generator.source)
    return generator


class BigGANGenerator(ModuleGenerator):
    """BigGAN, whose attention can be looked at."""

    module: BigGAN

    @property
    def attention_layers(self) -> list[AttentionLayer]:
        """Its attention layers; a key is the largest of four neighboring positions."""
        return [
            AttentionLayer(name, side, heads=1, keys=side**2 // 4)
            for name, side, _ in self.attending()
        ]

    def attending(self) -> Iterator[tuple[str, int, Attention]]:
        """Yield name, side and module of each attention layer."""
        config = self.module.config
        modules = [
            (name, part)
            for name, part in self.module.named_modules()
            if isinstance(part, Attention)
        ]
        sides = [side for side in config.sides if side in config.attention]
        for (name, part), side in zip(modules, sides, strict=True):
            yield name, side, part

    def attention(self, latents: Latents, layer: str, queries: Sequence[int]) -> AttentionMaps:
        """Return what these positions of a layer attend to, and the positions behind each key."""
        side, part = next((side, part) for name, side, part in self.attending() if name == layer)
        seen: list[torch.Tensor] = []
        handle = part.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        try:
            self.synthesize(latents)
        finally:
            handle.remove()
        query, key = part.scored(seen[0])
        weights = (query[:, list(queries)] @ key.transpose(1, 2)).softmax(dim=2)
        places = torch.arange(side**2).view(side, side)
        keys = places.new_zeros(side**2 // 4, side**2).float()
        below = (places // side // 2) * (side // 2) + places % side // 2
        keys[below.flatten(), places.flatten()] = 0.25
        return AttentionMaps(weights.unsqueeze(1), keys)


def drawn_as(options: Any, source: LatentSource) -> LatentSource:
    """Return a source of latents with the truncation that was asked for."""
    return dataclasses.replace(source, truncation=options["truncation"], scale=options["z_scale"])


def wanted(request: BuildRequest, *, deep: bool) -> BigGANConfig:
    """Return the sizes that were asked for; raises UsageError for those that cannot be built."""
    options: Any = request.options
    presets = {preset.name: preset.config for preset in PRESETS if preset.config.deep == deep}
    asked = presets.get(options["preset"]) or by_resolution(request.resolution, deep=deep)
    changes = {
        field: options[name] for name, field in OVERRIDES.items() if options[name] is not None
    }
    changes |= {name: options[name] for name in EPSILONS if options[name] is not None}
    try:
        config = dataclasses.replace(asked, **changes)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if config.resolution != request.resolution:
        msg = f"preset {options['preset']} makes {config.resolution} px, not {request.resolution}"
        raise UsageError(msg)
    return config


def loaded(request: BuildRequest, asked: BigGANConfig) -> tuple[BigGAN, BigGANConfig]:
    """Return the network of a file, whose shapes say its sizes; raises WeightsError for another."""
    options: Any = request.options
    assert request.weights is not None  # noqa: S101  # looked at by the caller
    try:
        checkpoint = read_checkpoint(request.weights)
        config = checkpoint.config
        if not isinstance(config, BigGANConfig) or config.deep != asked.deep:
            raise ValueError(holds_another(checkpoint, "BigGAN-deep" if asked.deep else "BigGAN"))  # noqa: TRY301  # one kind of complaint about files
        if config.resolution != asked.resolution:
            raise ValueError(of_another_size(config.resolution, asked.resolution))  # noqa: TRY301
        eps = {name: options[name] for name in EPSILONS if options[name] is not None}
        config = dataclasses.replace(config, **eps)
        network = BigGAN(config)
        load_tensors(network, checkpoint.tensors)
    except ValueError as error:
        msg = f"{request.weights}: {error}"
        raise WeightsError(msg) from None
    network.weights_read = checkpoint.notes
    resume_standing(network)
    return network, config


def standing(
    network: BigGAN, config: BigGANConfig, options: Any, *, meta: bool
) -> tuple[BigGAN, BigGANConfig]:
    """Return a copy of the network whose norms stand on the statistics of batches drawn like images."""
    config = dataclasses.replace(config, own_norm=True)
    if meta:
        with torch.device("meta"):
            return BigGAN(config), config
    copy = BigGAN(config)
    copy.load_state_dict(with_own_norms(network.state_dict()))
    plain = LatentSource(latent_shape=(config.drawn,), classes=config.classes)
    source = drawn_as(options, plain)
    size = options["standing_batch"]
    starts = range(STANDING_SEED, STANDING_SEED + options["standing_batches"] * size, size)
    drawn = (source.draw(range(start, start + size)) for start in starts)
    accumulate_standing(copy, [pair_of(latents) for latents in drawn])
    return copy, config


def pair_of(latents: Latents) -> tuple[torch.Tensor, torch.Tensor]:
    """Return z and classes."""
    assert latents.c is not None  # noqa: S101  # BigGAN has classes
    return latents.z, latents.c
