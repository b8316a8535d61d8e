"""Settings of adversarial training, each with its meaning and the default of StyleGAN2-ADA's `auto`.

Source: Karras et al., "Training Generative Adversarial Networks with Limited Data" (arXiv
2006.06676, appendix C), and the same group's published configurations. No torch here.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

LossName = Literal["logistic", "relativistic", "hinge"]
Augment = Literal["none", "ada", "diffaugment"]
Architecture = Literal["resnet", "skip", "orig"]
LARGE = 1024
"""From so many pixels on, `auto` learns a little slower."""
AUTO_GROUP = 4


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AdversarialConfig:
    """What fixes how a generator and a discriminator are trained; None: decided by `resolved`."""

    loss: LossName = dataclasses.field(
        default="logistic", metadata={"help": "logistic, relativistic (R3GAN) or hinge"}
    )
    gamma: float | None = dataclasses.field(
        default=None, metadata={"help": "weight of R1 [0.0002 pixels / batch]"}
    )
    gamma_fake: float | None = dataclasses.field(
        default=None, metadata={"help": "weight of R2 [gamma of relativistic, else 0]"}
    )
    d_interval: int | None = dataclasses.field(
        default=None, metadata={"help": "steps from one R1 to the next [16; relativistic 1]"}
    )
    path_length: float = dataclasses.field(
        default=2.0, metadata={"help": "weight of the path length penalty; 0: off"}
    )
    g_interval: int = dataclasses.field(
        default=4, metadata={"help": "steps from one path length penalty to the next"}
    )
    mixing: float = dataclasses.field(
        default=0.9, metadata={"help": "probability that an image mixes two styles"}
    )
    rate: float | None = dataclasses.field(
        default=None, metadata={"help": "learning rate of both [0.0025; 0.002 from 1024 px]"}
    )
    beta2: float = dataclasses.field(
        default=0.99, metadata={"help": "Adam's second decay; the first is 0"}
    )
    ema_kimg: float | None = dataclasses.field(
        default=None, metadata={"help": "half-life of averaged weights, in kimg [batch 10/32]"}
    )
    ema_ramp: float = dataclasses.field(
        default=0.05,
        metadata={"help": "at first the half-life is at most this part of images seen"},
    )
    augment: Augment = dataclasses.field(
        default="ada", metadata={"help": "none, ada or diffaugment"}
    )
    ada_target: float = dataclasses.field(
        default=0.6, metadata={"help": "sign of D on real images that ada aims at"}
    )
    ada_kimg: float = dataclasses.field(
        default=500.0, metadata={"help": "thousand images in which p can go from 0 to 1"}
    )
    ada_limit: float = dataclasses.field(default=0.85, metadata={"help": "largest p of ada"})
    ada_start: float = dataclasses.field(default=0.0, metadata={"help": "p of ada at the start"})
    architecture: Architecture = dataclasses.field(
        default="resnet", metadata={"help": "discriminator: resnet, skip or orig"}
    )
    d_channel_base: int = dataclasses.field(
        default=16384, metadata={"help": "discriminator's channels = base / resolution"}
    )
    d_channel_max: int = dataclasses.field(
        default=512, metadata={"help": "most channels of the discriminator"}
    )
    deviation_group: int | None = dataclasses.field(
        default=None, metadata={"help": "images a group of minibatch deviation [4]"}
    )
    freeze_d: int = dataclasses.field(
        default=0,
        metadata={"help": "resolutions of the discriminator, the largest first, kept as found"},
    )

    def resolved(self, resolution: int, batch: int, shard: int) -> AdversarialConfig:
        """Return the settings with every None decided as `auto` decides it.

        `shard`: images that a process sees at once. Raises ValueError for what cannot be meant.
        """
        relativistic = self.loss == "relativistic"
        gamma = 0.0002 * resolution**2 / batch if self.gamma is None else self.gamma
        found = dataclasses.replace(
            self,
            gamma=gamma,
            gamma_fake=(gamma if relativistic else 0.0)
            if self.gamma_fake is None
            else self.gamma_fake,
            d_interval=(1 if relativistic else 16) if self.d_interval is None else self.d_interval,
            rate=(0.002 if resolution >= LARGE else 0.0025) if self.rate is None else self.rate,
            ema_kimg=batch * 10 / 32 if self.ema_kimg is None else self.ema_kimg,
            deviation_group=min(AUTO_GROUP, shard)
            if self.deviation_group is None
            else self.deviation_group,
        )
        found.check(shard)
        return found

    def check(self, shard: int) -> None:
        """Raise ValueError, saying what is wrong and what helps."""
        group = min(self.deviation_group or 1, shard)
        complaints = {
            f"a shard of {shard} images is not divisible by deviation_group {group}": shard % group,
            f"path_length needs two images a shard, not {shard}": self.path_length and shard % 2,
            f"d_interval {self.d_interval}: expected 1 or more": (self.d_interval or 1) < 1,
            f"g_interval {self.g_interval}: expected 1 or more": self.g_interval < 1,
            f"rate {self.rate}: expected above 0": (self.rate or 1) <= 0,
            f"mixing {self.mixing}: expected 0 to 1": not 0 <= self.mixing <= 1,
            f"ada_limit {self.ada_limit}: expected 0 to 1": not 0 <= self.ada_limit <= 1,
            f"gamma {self.gamma}: expected 0 or more": (self.gamma or 0) < 0,
        }
        for words, wrong in complaints.items():
            if wrong:
                raise ValueError(words)
