"""The adapter that turns a plain `nn.Module(z, c)` into an `ImageGenerator`."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sfbench.api.errors import ContractError
from sfbench.api.spec import BuildRequest

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Latents:
    """Inputs of a batch: z [batch, *latent_shape], one-hot c [batch, classes], noise per layer."""

    z: Tensor
    c: Tensor | None
    noise: list[Tensor] | None


class ModuleGenerator:
    """Draws N(0, 1) latents, one `torch.Generator` per seed, and calls the module on them.

    The module is put on the request's device and dtype, in eval mode; a TorchScript module and that
    of a `torch.export` program will do, too. It is called as
    `forward(z)`, `forward(z, c)` with `classes`, and with `noise=` where `noise_shapes` names one
    image's noise in each layer. `forward` defaults to the module itself. `architecture` is stored
    with every record: the sizes actually built, if the weights decide them.
    """

    def __init__(  # one call describes a whole generator
        self,
        module: nn.Module,
        request: BuildRequest,
        *,
        latent_shape: Sequence[int],
        classes: int = 0,
        noise_shapes: Sequence[Sequence[int]] = (),
        forward: Callable[..., Tensor] | None = None,
        architecture: Mapping[str, Any] | None = None,
    ) -> None:
        import torch  # sfbench.api must not import torch when imported

        self.dtype: torch.dtype = getattr(torch, request.dtype)
        self.device = torch.device(request.device)
        # The module of an exported program is in the mode that it was exported in.
        with contextlib.suppress(NotImplementedError):
            module.eval()
        self.module = module.requires_grad_(requires_grad=False).to(self.device, self.dtype)
        self.resolution = request.resolution
        self.latent_shape = tuple(latent_shape)
        self.classes = classes
        self.noise_shapes = [tuple(shape) for shape in noise_shapes]
        self.forward = forward or module
        self.architecture = None if architecture is None else dict(architecture)

    def draw_latents(self, seeds: Sequence[int]) -> Latents:
        """Return the latents of these seeds: row i is drawn only from seed i, always on the CPU."""
        import torch  # sfbench.api must not import torch when imported

        if not seeds:
            msg = "draw_latents needs at least one seed"
            raise ContractError(msg)
        rows = []
        for seed in seeds:
            source = torch.Generator().manual_seed(seed)
            z = torch.randn(self.latent_shape, generator=source)
            label = torch.randint(max(self.classes, 1), (), generator=source)
            rows.append((z, label, [torch.randn(s, generator=source) for s in self.noise_shapes]))
        zs, labels, noise = zip(*rows, strict=True)
        one_hot = None
        if self.classes:
            one_hot = self._place(torch.nn.functional.one_hot(torch.stack(labels), self.classes))
        layers = [self._place(torch.stack(layer)) for layer in zip(*noise, strict=True)]
        return Latents(z=self._place(torch.stack(zs)), c=one_hot, noise=layers or None)

    def _place(self, x: Tensor) -> Tensor:
        return x.to(device=self.device, dtype=self.dtype)

    def synthesize(self, latents: Latents) -> Tensor:
        """Return images [batch, channels, side, side] in about [-1, 1]."""
        arguments = [latents.z] if latents.c is None else [latents.z, latents.c]
        if latents.noise is None:
            return self.forward(*arguments)
        return self.forward(*arguments, noise=latents.noise)
