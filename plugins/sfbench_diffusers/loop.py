"""The denoising loop: from noise to images, with a random generator for each image.

The steps are those of diffusers' own pipelines (DDPM, DDIM, PNDM, LDM, DiT, consistency models),
to the bit on the CPU where their schedulers are deterministic or take generators. Pipelines that
hand no generator to a stochastic scheduler (LDM, DiT) draw that noise from torch's global state;
here it comes from the image's own seed.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Inputs of a batch: z, the initial noise; labels c or None; and where randomness goes on.

    `states`: of each image's random generator after z was drawn, for stochastic steps.
    """

    z: Tensor
    c: Tensor | None
    states: list[Tensor]


def generators_of(states: Sequence[Tensor]) -> list[torch.Generator]:
    """Return generators in these states: each call of a generator begins there again."""
    found = [torch.Generator() for _ in states]
    for one, state in zip(found, states, strict=True):
        one.set_state(state)
    return found


class Denoiser(nn.Module):
    """One call of the network, with classifier-free guidance where the model has a null class.

    Noise [batch, channels, height, width] at a timestep -> the scheduler's input.
    """

    def __init__(self, network: nn.Module, guidance: float, null: int | None) -> None:
        super().__init__()
        self.network = network
        self.guidance = guidance
        self.null = null
        self.is_transformer = null is not None

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        """Return the network's output for each image."""
        if not self.is_transformer:
            given = {} if labels is None else {"class_labels": labels}
            output: Tensor = self.network(x, t, **given).sample
            return output
        if labels is None or self.null is None:
            msg = "a class-conditional transformer needs labels"
            raise ValueError(msg)
        count, channels = x.shape[:2]
        guided = self.guidance > 1
        if guided:
            labels = torch.cat([labels, torch.full_like(labels, self.null)])
            x = torch.cat([x, x])
        times = t[None].to(x.device).expand(x.shape[0])
        whole: Tensor = self.network(x, timestep=times, class_labels=labels).sample
        # What the network says of the variance is not used, as in DiTPipeline.
        output = whole[:, :channels]
        if guided:
            conditional, unconditional = output[:count], output[count:]
            output = unconditional + self.guidance * (conditional - unconditional)
        return output


class DenoisingLoop:
    """Runs a scheduler over a denoiser; `steps` of the user, or the pipeline's own number."""

    def __init__(self, scheduler: Any, steps: int, eta: float) -> None:
        self.scheduler = scheduler
        self.steps = steps
        taken = inspect.signature(scheduler.step).parameters
        self.stochastic = "generator" in taken
        self.extra = {"eta": eta} if "eta" in taken else {}
        learned = str(getattr(scheduler.config, "variance_type", "") or "")
        self.takes_variance = learned.startswith("learned")

    def begin(self, device: torch.device) -> Tensor:
        """Return the timesteps of a new run."""
        self.scheduler.set_timesteps(self.steps, device=device)
        found: Tensor = self.scheduler.timesteps
        return found

    def __call__(self, denoiser: nn.Module, latents: Noise, labels: Tensor | None) -> Tensor:
        """Return the denoised latents or images [batch, channels, height, width]."""
        scheduler, x = self.scheduler, latents.z
        times = self.begin(x.device)
        extra: dict[str, Any] = dict(self.extra)
        if self.stochastic:
            extra["generator"] = generators_of(latents.states)
        x = x * scheduler.init_noise_sigma
        for t in times:
            output = denoiser(scheduler.scale_model_input(x, t), t, labels)
            if not self.takes_variance:
                output = output[:, : x.shape[1]]
            x = scheduler.step(output, t, x, **extra).prev_sample
        denoised: Tensor = x
        return denoised
