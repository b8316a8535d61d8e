"""Settings of BigGAN's training. No torch here."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BigGANTraining:
    """How generator and discriminator learn; the rates of the ImageNet script."""

    rate: float = dataclasses.field(default=1e-4, metadata={"help": "learning rate of G"})
    d_rate: float = dataclasses.field(default=4e-4, metadata={"help": "learning rate of D"})
    beta2: float = dataclasses.field(
        default=0.999, metadata={"help": "Adam's second decay; the first is 0"}
    )
    adam_eps: float = dataclasses.field(default=1e-6, metadata={"help": "Adam's epsilon"})
    ema_kimg: float = dataclasses.field(
        default=1775.0, metadata={"help": "half-life of averaged state, in kimg [0.9999 at 256]"}
    )
    ema_ramp: float = dataclasses.field(
        default=0.05,
        metadata={"help": "at first the half-life is at most this part of images seen"},
    )
    d_channels: int = dataclasses.field(
        default=96, metadata={"help": "base of the discriminator's widths"}
    )

    def check(self) -> None:
        """Raise ValueError for what cannot be meant."""
        for name in ("rate", "d_rate", "beta2", "adam_eps", "d_channels"):
            if not getattr(self, name) > 0:
                msg = f"{name} {getattr(self, name)}: expected above 0"
                raise ValueError(msg)
