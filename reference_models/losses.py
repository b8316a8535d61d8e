"""Adversarial losses of a generator and a discriminator, as means over the batch, from logits.

Sources: non-saturating logistic, Goodfellow et al. (arXiv 1406.2661, section 3); relativistic
pairing, Jolicoeur-Martineau (arXiv 1807.00734) in the form of Huang et al., "The GAN is dead; long
live the GAN!" (R3GAN, arXiv 2501.05441, equation 2); hinge, Lim and Ye (arXiv 1705.02894).
"""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

LossName = Literal["logistic", "relativistic", "hinge"]
Logits = Float[Tensor, "batch 1"]


def generator_loss(name: LossName, fake: Logits, real: Logits | None) -> Float[Tensor, ""]:
    """Return what the generator minimizes; "relativistic" needs the logits of real images, too."""
    match name:
        case "logistic":
            return F.softplus(-fake).mean()
        case "hinge":
            return -fake.mean()
        case "relativistic":
            return F.softplus(-(fake - paired(real))).mean()


def discriminator_loss(name: LossName, fake: Logits, real: Logits) -> Float[Tensor, ""]:
    """Return what the discriminator minimizes."""
    match name:
        case "logistic":
            return F.softplus(fake).mean() + F.softplus(-real).mean()
        case "hinge":
            return F.relu(1 + fake).mean() + F.relu(1 - real).mean()
        case "relativistic":
            return F.softplus(-(real - fake)).mean()


def paired(real: Logits | None) -> Logits:
    """Return the logits of the real images that each fake one is paired with."""
    if real is None:
        msg = "the relativistic loss compares each fake image with a real one: give its logits"
        raise ValueError(msg)
    return real
