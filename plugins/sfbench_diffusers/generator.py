"""A diffusion pipeline as an ImageGenerator: noise drawn before, denoising and decoding timed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sfbench.api import BuildRequest, Labels, Stage
from sfbench.api.precision import compute_dtype
from sfbench.api.spec import check_size
from sfbench_diffusers.decoder_switches import switch_decoder
from sfbench_diffusers.folder import PipelineFolder
from sfbench_diffusers.loop import Denoiser, DenoisingLoop, Noise

LABEL_SALT = 0x5F
"""Labels come from a generator of their own: steps go on with that of the noise."""


class Networks(nn.Module):
    """The pipeline's networks; compiling them compiles each one's call."""

    def __init__(self, denoiser: Denoiser, decoder: nn.Module | None) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.decoder = decoder

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile the denoiser, and the decoder of a latent pipeline."""
        self.denoiser.compile(*args, **kwargs)
        if self.decoder is not None:
            self.decoder.compile(*args, **kwargs)


class Decoder(nn.Module):
    """Latents -> images in [-1, 1], by the decoder of an autoencoder."""

    def __init__(self, autoencoder: Any, *, inverted: bool) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.scaling = float(autoencoder.config.scaling_factor)
        self.inverted = inverted

    def forward(self, x: Tensor) -> Tensor:
        """Return the images; scaled as the pipelines do, one of which multiplies by the inverse."""
        scaled = 1 / self.scaling * x if self.inverted else x / self.scaling
        images: Tensor = self.autoencoder.decode(scaled).sample
        return images


class DiffusionGenerator:
    """Image i is made of the noise of seed i, and its steps draw from seed i alone."""

    def __init__(
        self,
        folder: PipelineFolder,
        request: BuildRequest,
        *,
        network: nn.Module,
        decoder: nn.Module | None,
        loop: DenoisingLoop,
        guidance: float,
    ) -> None:
        config: Any = network.config
        embedded = getattr(config, "num_embeds_ada_norm", None)
        self.classes = int(embedded or getattr(config, "num_class_embeds", None) or 0)
        self.labels = Labels()
        self.resolution = request.resolution
        self.device, self.dtype = (
            torch.device(request.device),
            getattr(torch, compute_dtype(request)),
        )
        side = config.sample_size
        self.sides: tuple[int, int] = (side, side) if isinstance(side, int) else tuple(side)
        self.shape = (int(config.in_channels), *self.sides)
        self.loop = loop
        switched = switch_decoder(decoder, request.options)
        self.decoder = None if decoder is None else Decoder(decoder, inverted=embedded is not None)
        self.denoiser = Denoiser(network, guidance, embedded)
        self.module = Networks(self.denoiser, self.decoder)
        self.check_size(folder, decoder, request)
        self.architecture = {
            "format": f"diffusers {folder.pipeline}, saved by {folder.version or 'an unknown version'}",
            "scheduler": type(loop.scheduler).__name__,
            "steps": loop.steps,
            "calls_of_the_denoiser": len(loop.begin(torch.device("cpu"))),
            "guidance": guidance if embedded and guidance > 1 else None,
            "eta": loop.extra.get("eta"),
            "stochastic steps": "from each image's seed" if loop.stochastic else "none",
            "classes": self.classes,
            "decoder": type(decoder).__name__ if decoder is not None else None,
            **switched,
        }

    def check_size(self, folder: PipelineFolder, decoder: Any, request: BuildRequest) -> None:
        """Raise UnsupportedError for another size than the pipeline makes."""
        factor = 1 if decoder is None else 2 ** (len(decoder.config.block_out_channels) - 1)
        height, width = (side * factor for side in self.sides)
        check_size(folder.path.name, height, width, request)

    def use_labels(self, labels: Labels) -> None:
        """Draw labels by this rule from now on."""
        if self.classes:
            labels.check(self.classes)
        self.labels = labels

    def draw_latents(self, seeds: Sequence[int]) -> Noise:
        """Return the noise of these seeds, drawn on the CPU as diffusers does with generators."""
        rows, states, labels = [], [], []
        for seed in seeds:
            source = torch.Generator().manual_seed(seed)
            rows.append(torch.randn((1, *self.shape), generator=source))
            states.append(source.get_state())
            drawn = torch.Generator().manual_seed(seed ^ (LABEL_SALT << 24))
            number = torch.randint(max(self.classes, 1), (), generator=drawn)
            labels.append(self.labels.of(seed, self.classes, int(number)))
        c = torch.tensor(labels, device=self.device) if self.classes else None
        return Noise(z=torch.cat(rows).to(self.device, self.dtype), c=c, states=states)

    def synthesize(self, latents: Noise) -> Tensor:
        """Return images [batch, channels, height, width] in [-1, 1]."""
        x = self.loop(self.denoiser, latents, latents.c)
        return (x if self.decoder is None else self.decoder(x)).clamp(-1, 1)

    def stages(self, latents: Noise) -> Iterable[Stage]:
        """Yield the denoiser's call at the first step, and the decoder's."""
        times, scheduler = self.loop.begin(self.device), self.loop.scheduler
        x = scheduler.scale_model_input(latents.z * scheduler.init_noise_sigma, times[0])
        yield Stage("denoiser", len(times), lambda: self.denoiser(x, times[0], latents.c))
        decoder = self.decoder
        if decoder is not None:
            yield Stage("decoder", 1, lambda: decoder(latents.z))
