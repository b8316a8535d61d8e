"""A generator and a discriminator that learn from each other, and the average that is kept.

Sources: Karras et al., StyleGAN2 (arXiv 1912.04958: lazy regularization, path length, appendix B)
and StyleGAN2-ADA (arXiv 2006.06676: adaptive p, section 3.2). Style mixing: arXiv 1812.04948,
section 3.1.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from reference_models.adversarial_config import AdversarialConfig
from reference_models.augmentation import NORMALS, UNIFORMS, adaptive_augment
from reference_models.average import ema_update, half_life_decay
from reference_models.diff_augment import UNIFORMS as DIFF_UNIFORMS
from reference_models.diff_augment import diff_augment
from reference_models.discriminator import Discriminator
from reference_models.gansformer import Gansformer
from reference_models.learning import Losses, Means, Phase, Shard
from reference_models.losses import discriminator_loss, generator_loss
from reference_models.mapping import W_AVERAGE_DECAY
from reference_models.penalties import (
    moved_average,
    path_length_penalty,
    path_lengths,
    squared_gradient,
)
from reference_models.style_generator import StyleGenerator

ADA_INTERVAL = 4
"""Steps from one change of p to the next."""
KIMG = 1000
HALF_BYTES = 2


Trained = TypeVar("Trained", StyleGenerator, Gansformer)


class AdversarialLearner(Generic[Trained]):
    """Trains a generator; `average` is the generator to be used.

    Random numbers, labels and images come from the shard alone: a step is a function of it.
    """

    def __init__(
        self,
        generator: Trained,
        discriminator: Discriminator,
        config: AdversarialConfig,
        *,
        batch: int,
        autocast: Callable[[], Any],
        compiled: bool = False,
    ) -> None:
        self.live: Trained = generator.train().requires_grad_(requires_grad=False)
        self.live.mapping.eval()  # its running mean is moved here, once a phase
        self.discriminator = discriminator.train().requires_grad_(requires_grad=False)
        self.average: Trained = copy.deepcopy(generator).eval()
        self.config = config
        self.batch = batch
        self.autocast = autocast
        device = next(generator.parameters()).device
        self.device = device
        self.path_length_average = torch.zeros((), device=device)
        self.p = torch.full((), config.ada_start, device=device)
        self.signs = torch.zeros(2, device=device)
        self.learned = {
            "generator": list(generator.parameters()),
            "discriminator": thawed(discriminator, config.freeze_d),
        }
        self.optimizers = {name: self.adam(name) for name in self.learned}
        self.plain: dict[str, Callable[..., Any]] = {
            "synthesis": self.live.synthesized,
            "seen": self.seen,
            "slopes": self.slopes,
            "walks": self.walks,
        }
        self.functions = self.plain
        if compiled:  # else not even wrapped: the compiler takes seconds to import
            self.functions = {
                name: torch.compile(function, dynamic=False)
                for name, function in self.plain.items()
            }

    def lazy_ratio(self, name: str) -> float:
        """Return what rate and decays are corrected by where a penalty adds a step now and then."""
        lazy = self.config.d_interval or 1
        if name == "generator":
            lazy = self.config.g_interval if self.config.path_length else 1
        return lazy / (lazy + 1) if lazy > 1 else 1.0

    def adam(self, name: str) -> torch.optim.Optimizer:
        """Return the optimizer of a network."""
        ratio = self.lazy_ratio(name)
        return torch.optim.Adam(
            self.learned[name],
            lr=(self.config.rate or 0.0) * ratio,
            betas=(0.0, self.config.beta2**ratio),
            eps=1e-8,
            fused=True,
        )

    def phases(self, step: int) -> Iterator[Phase]:
        """Yield the updates of a step, in order."""
        config = self.config
        yield self.phase("Gmain", "generator", self.generator_losses, after=self.generated)
        if config.path_length and step % config.g_interval == 0:
            yield self.phase(
                "Greg", "generator", self.path_losses, measure=self.path_means, after=self.walked
            )
        every = config.d_interval or 1
        if every == 1:
            yield self.phase(
                "Dboth", "discriminator", self.penalized_losses, after=self.discriminated
            )
            return
        yield self.phase(
            "Dmain", "discriminator", self.discriminator_losses, after=self.discriminated
        )
        if (config.gamma or config.gamma_fake) and step % every == 0:
            yield self.phase("Dreg", "discriminator", self.penalties, after=self.discriminated)

    def phase(
        self,
        name: str,
        part: str,
        losses: Callable[[Shard, Means], Losses],
        *,
        measure: Callable[[Shard], Means] | None = None,
        after: Callable[[Means], None],
    ) -> Phase:
        """Return a phase in which one of the two networks learns."""
        return Phase(
            name=name,
            optimizer=self.optimizers[part],
            parameters=self.learned[part],
            losses=losses,
            measure=measure,
            after=after,
        )

    # The generator.

    def generator_losses(self, shard: Shard, _means: Means) -> Losses:
        """Return the generator's adversarial loss."""
        images, labels, w = self.draw(shard, "Gmain")
        fake = self.scores(images, labels, shard, "Gmain/fake")
        real = None
        if self.config.loss == "relativistic":
            real = self.scores(shard.images, shard.labels, shard, "Gmain/real")
        loss = generator_loss(self.config.loss, fake, real)
        return Losses(loss, {"w": w, "G/loss": loss.detach(), "scores/fake": mean(fake)})

    def path_means(self, shard: Shard) -> Means:
        """Return the mean path length of a shard."""
        lengths, _ = self.lengths(shard)
        return {"length": lengths.detach().mean()}

    def path_losses(self, shard: Shard, means: Means) -> Losses:
        """Return the path length penalty, of half the images, times its interval."""
        lengths, w = self.lengths(shard)
        overall = means.get("length", lengths.detach().mean())
        penalty = path_length_penalty(lengths, self.path_length_average, overall)
        weight = self.config.path_length * self.config.g_interval
        found = {"w": w, "length": lengths.detach().mean(), "G/path_length": penalty.detach()}
        return Losses(penalty * weight, found)

    def lengths(self, shard: Shard) -> tuple[Float[Tensor, " half"], Tensor]:
        """Return the path lengths of the first half of the images, and their mean style."""
        half = len(shard.images) // 2
        ws, w, noise, _ = self.styles(shard, "Greg", half)
        directions = shard.normal("Greg/directions", *shard.images.shape[1:])[:half]
        lengths: Tensor = self.functions["walks"](ws, noise, directions)
        return lengths, w

    def walks(self, ws: Tensor, noise: list[Tensor], directions: Tensor) -> Tensor:
        """Return the path lengths of images."""
        # No fused attention can be differentiated twice.
        with sdpa_kernel(SDPBackend.MATH):
            return path_lengths(lambda styles: self.live.synthesized(styles, noise), ws, directions)

    def generated(self, means: Means) -> None:
        """Move the running mean of the styles."""
        running = self.live.mapping.w_avg
        running.copy_(means["w"].lerp(running, W_AVERAGE_DECAY))

    def walked(self, means: Means) -> None:
        """Move the running means of styles and path lengths."""
        self.generated(means)
        self.path_length_average = moved_average(self.path_length_average, means["length"])

    def styles(
        self, shard: Shard, use: str, count: int | None = None
    ) -> tuple[Tensor, Tensor, list[Tensor], Tensor | None]:
        """Return styles [batch, num_ws, w_dim], their mean, noise a layer, and labels."""
        live = self.live
        rows = slice(count)
        labels = shard.drawn_labels(f"{use}/labels")
        labels = None if labels is None else labels[rows]
        w = live.mapped(shard.normal(f"{use}/z", *live.latent_shape)[rows], labels)
        ws = live.spread(w)
        if self.config.mixing and shard.number(f"{use}/mixing") < self.config.mixing:
            cut = 1 + int(shard.number(f"{use}/cut") * (live.num_ws - 1))
            other = live.mapped(shard.normal(f"{use}/mixed z", *live.latent_shape)[rows], labels)
            ws = torch.cat([ws[..., :cut, :], live.spread(other)[..., cut:, :]], dim=-2)
        noise = [
            shard.normal(f"{use}/noise {i}", *shape)[rows]
            for i, shape in enumerate(live.noise_shapes)
        ]
        return ws, w.detach().flatten(0, -2).mean(dim=0), noise, labels

    def draw(self, shard: Shard, use: str) -> tuple[Tensor, Tensor | None, Tensor]:
        """Return generated images, their labels, and the mean style."""
        with self.autocast():
            ws, w, noise, labels = self.styles(shard, use)
            return widened(self.functions["synthesis"](ws, noise)), labels, widened(w)

    # The discriminator.

    def scores(
        self, images: Tensor, labels: Tensor | None, shard: Shard, use: str
    ) -> Float[Tensor, "batch 1"]:
        """Return the discriminator's logits of augmented images."""
        with self.autocast():
            return widened(self.functions["seen"](images, labels, self.chances(shard, use)))

    def chances(self, shard: Shard, use: str) -> tuple[Tensor, ...]:
        """Return the random numbers of the augmentation, and p where it has one."""
        match self.config.augment:
            case "ada":
                uniforms = shard.uniform(f"{use}/chances", UNIFORMS)
                return uniforms, shard.normal(f"{use}/sizes", NORMALS), self.p
            case "diffaugment":
                return (shard.uniform(f"{use}/chances", DIFF_UNIFORMS),)
            case "none":
                return ()

    def seen(
        self, images: Tensor, labels: Tensor | None, chances: tuple[Tensor, ...]
    ) -> Float[Tensor, "batch 1"]:
        """Return the logits of images as the augmentation shows them to the discriminator."""
        match self.config.augment:
            case "ada":
                images = adaptive_augment(images, *chances)
            case "diffaugment":
                images = diff_augment(images, *chances)
        return self.discriminator(images, labels)  # type: ignore[no-any-return]  # nn.Module

    def discriminator_losses(self, shard: Shard, _means: Means) -> Losses:
        """Return the discriminator's adversarial loss; it does not move the generator."""
        with torch.no_grad():
            images, labels, w = self.draw(shard, "Dmain")
        fake = self.scores(images, labels, shard, "Dmain/fake")
        real = self.scores(shard.images, shard.labels, shard, "Dmain/real")
        loss = discriminator_loss(self.config.loss, fake, real)
        return Losses(
            loss,
            {
                "w": w,
                "D/loss": loss.detach(),
                "scores/fake": mean(fake),
                "scores/real": mean(real),
                "signs/real": mean(real.sign()),
            },
        )

    def penalties(self, shard: Shard, _means: Means) -> Losses:
        """Return R1 (and R2), times their interval."""
        interval = self.config.d_interval or 1
        squares, real = self.penalized(shard.images, shard.labels, shard, "Dreg/real")
        total = squares.mean() * ((self.config.gamma or 0.0) / 2)
        found = {"D/r1": squares.detach().mean(), "signs/real": mean(real.sign())}
        if self.config.gamma_fake:
            with torch.no_grad():
                images, labels, _ = self.draw(shard, "Dreg")
            squares, _ = self.penalized(images, labels, shard, "Dreg/fake")
            total = total + squares.mean() * (self.config.gamma_fake / 2)
            found["D/r2"] = squares.detach().mean()
        return Losses(total * interval, found)

    def penalized_losses(self, shard: Shard, _means: Means) -> Losses:
        """Return loss and penalties from the same logits: what R3GAN minimizes each step."""
        with torch.no_grad():
            images, labels, w = self.draw(shard, "Dmain")
        r1, real = self.penalized(shard.images, shard.labels, shard, "Dmain/real")
        found = {"w": w, "D/r1": r1.detach().mean()}
        total = r1.mean() * ((self.config.gamma or 0.0) / 2)
        if self.config.gamma_fake:
            r2, fake = self.penalized(images, labels, shard, "Dmain/fake")
            total = total + r2.mean() * (self.config.gamma_fake / 2)
            found["D/r2"] = r2.detach().mean()
        else:
            fake = self.scores(images, labels, shard, "Dmain/fake")
        loss = discriminator_loss(self.config.loss, fake, real)
        found |= {
            "D/loss": loss.detach(),
            "scores/fake": mean(fake),
            "scores/real": mean(real),
            "signs/real": mean(real.sign()),
        }
        return Losses(loss + total, found)

    def penalized(
        self, images: Tensor, labels: Tensor | None, shard: Shard, use: str
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch 1"]]:
        """Return squared gradients by the images before they are augmented, and the logits."""
        squares, logits = self.functions["slopes"](images, labels, self.chances(shard, use))
        return squares, logits

    def slopes(
        self, images: Tensor, labels: Tensor | None, chances: tuple[Tensor, ...]
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch 1"]]:
        """Return squared gradients and logits, in single precision."""
        return squared_gradient(lambda x: self.seen(x, labels, chances), images)

    def discriminated(self, means: Means) -> None:
        """Remember how sure the discriminator is of real images, which ada goes by."""
        if "w" in means:
            self.generated(means)
        self.signs += torch.stack([means["signs/real"], torch.ones_like(self.p)])

    # Between steps.

    def after_step(self, step: int) -> Means:
        """Move the average and p; return what is worth a line in the log."""
        seen = step * self.batch
        half_life = (self.config.ema_kimg or 0.0) * KIMG
        if self.config.ema_ramp:
            half_life = min(half_life, self.config.ema_ramp * seen)
        ema_update(self.average, self.live, half_life_decay(half_life, self.batch))
        if self.config.augment == "ada" and (step + 1) % ADA_INTERVAL == 0:
            mean_sign = self.signs[0] / self.signs[1]
            change = self.batch * ADA_INTERVAL / (self.config.ada_kimg * KIMG)
            moved = self.p + torch.sign(mean_sign - self.config.ada_target) * change
            self.p = moved.clamp(0, self.config.ada_limit)
            self.signs = torch.zeros_like(self.signs)
        if self.config.augment != "ada":
            self.signs = torch.zeros_like(self.signs)
            return {}
        return {"augment/p": self.p, "augment/limited": (self.p >= self.config.ada_limit).float()}

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a later step depends on: tensors and optimizer states, nested."""
        return {
            "generator": self.live.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": {name: o.state_dict() for name, o in self.optimizers.items()},
            "path_length_average": self.path_length_average,
            "p": self.p,
            "signs": self.signs,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what `state_dict` returned."""
        self.live.load_state_dict(state["generator"])
        self.discriminator.load_state_dict(state["discriminator"])
        self.average.load_state_dict(state["average"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        for name in ("path_length_average", "p", "signs"):
            setattr(self, name, state[name].to(self.device))

    def scale_rate(self, factor: float) -> None:
        """Learn at `factor` times the rate of the settings."""
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = (self.config.rate or 0.0) * self.lazy_ratio(name) * factor


def widened(x: Tensor) -> Tensor:
    """Return a half-precision tensor in single precision, any other as it is."""
    return x.float() if x.dtype.itemsize == HALF_BYTES else x


def mean(logits: Tensor) -> Tensor:
    """Return the mean, for the log."""
    return logits.detach().mean()


def thawed(discriminator: Discriminator, frozen: int) -> list[nn.Parameter]:
    """Return what learns: all but the blocks of the `frozen` largest resolutions.

    Source: Mo et al., "Freeze the Discriminator" (arXiv 2002.10964).
    """
    kept = tuple(f"b{side}." for side in discriminator.resolutions[:frozen])
    return [p for name, p in discriminator.named_parameters() if not name.startswith(kept)]
