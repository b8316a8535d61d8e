"""BigGAN's training: hinge losses, a discriminator of its own, moving averages of all of the state.

Source: Brock et al., arXiv 1809.11096, section 3.1 and appendix C. Batch statistics are those of a
whole batch, so a batch cannot be cut into shards.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from reference_models.average import half_life_decay
from reference_models.biggan import BigGAN
from reference_models.biggan_discriminator import BigGANDiscriminator
from reference_models.biggan_training import BigGANTraining
from reference_models.learning import Losses, Means, Phase, Shard
from reference_models.losses import LossName, discriminator_loss, generator_loss

KIMG = 1000
HINGE: LossName = "hinge"


class BigGANLearner:
    """Trains a generator; `average` is the generator to be used.

    Random numbers, classes and images come from the shard alone: a step is a function of it.
    """

    def __init__(
        self,
        generator: BigGAN,
        discriminator: BigGANDiscriminator,
        config: BigGANTraining,
        *,
        batch: int,
    ) -> None:
        self.live = generator.train().requires_grad_(requires_grad=False)
        self.discriminator = discriminator.train().requires_grad_(requires_grad=False)
        self.average = copy.deepcopy(generator).eval()
        self.config, self.batch = config, batch
        self.rates = {"generator": config.rate, "discriminator": config.d_rate}
        self.learned: dict[str, list[nn.Parameter]] = {
            "generator": list(generator.parameters()),
            "discriminator": list(discriminator.parameters()),
        }
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            name: torch.optim.Adam(
                parameters,
                lr=self.rates[name],
                betas=(0.0, config.beta2),
                eps=config.adam_eps,
                fused=True,
            )
            for name, parameters in self.learned.items()
        }

    def phases(self, step: int) -> Iterator[Phase]:
        """Yield the updates of a step: the discriminator's, then the generator's."""
        del step  # every step is the same
        yield self.phase("D", "discriminator", self.discriminator_losses)
        yield self.phase("G", "generator", self.generator_losses)

    def phase(self, name: str, part: str, losses: Any) -> Phase:
        """Return a phase in which one of the two networks learns."""
        return Phase(
            name=name,
            optimizer=self.optimizers[part],
            parameters=self.learned[part],
            losses=losses,
        )

    def draw(self, shard: Shard, use: str) -> tuple[Tensor, Tensor]:
        """Return generated images and their classes, those of random real images."""
        classes = shard.drawn_labels(f"{use}/labels")
        if classes is None or shard.labels is None:
            msg = "BigGAN learns classes: the images have none"
            raise ValueError(msg)
        z = shard.normal(f"{use}/z", self.live.config.drawn)
        return self.live(z, classes), classes

    def discriminator_losses(self, shard: Shard, _means: Means) -> Losses:
        """Return the discriminator's hinge loss; real and generated images are one batch."""
        with torch.no_grad():
            images, classes = self.draw(shard, "D")
        assert shard.labels is not None  # noqa: S101  # looked at by draw
        logits = self.discriminator(
            torch.cat([images, shard.images]), torch.cat([classes, shard.labels])
        )
        fake, real = logits.chunk(2)
        loss = discriminator_loss(HINGE, fake, real)
        means = {
            "D/loss": loss.detach(),
            "scores/fake": fake.detach().mean(),
            "scores/real": real.detach().mean(),
        }
        return Losses(loss, means)

    def generator_losses(self, shard: Shard, _means: Means) -> Losses:
        """Return the generator's hinge loss."""
        images, classes = self.draw(shard, "G")
        loss = generator_loss(HINGE, self.discriminator(images, classes), None)
        return Losses(loss, {"G/loss": loss.detach()})

    @torch.no_grad()
    def after_step(self, step: int) -> Means:
        """Move the average: parameters, statistics and estimates of singular vectors alike."""
        half_life = self.config.ema_kimg * KIMG
        if self.config.ema_ramp:
            half_life = min(half_life, self.config.ema_ramp * step * self.batch)
        kept = half_life_decay(half_life, self.batch)
        pairs = zip(
            [*self.average.parameters(), *self.average.buffers()],
            [*self.live.parameters(), *self.live.buffers()],
            strict=True,
        )
        for average, live in pairs:
            average.lerp_(live, 1 - kept)
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a later step depends on."""
        return {
            "generator": self.live.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": {name: o.state_dict() for name, o in self.optimizers.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what `state_dict` returned."""
        self.live.load_state_dict(state["generator"])
        self.discriminator.load_state_dict(state["discriminator"])
        self.average.load_state_dict(state["average"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])

    def scale_rate(self, factor: float) -> None:
        """Learn at `factor` times the rates of the settings."""
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = self.rates[name] * factor
