"""The adapter that turns a plain `nn.Module(z, c)` into an `ImageGenerator`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sfbench.api.latents import Drawing, Latents, LatentSource
from sfbench.api.precision import compute_dtype, placed
from sfbench.api.spec import BuildRequest

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


class ModuleGenerator(Drawing):
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

        self.dtype: torch.dtype = getattr(torch, compute_dtype(request))
        self.device = torch.device(request.device)
        # The module of an exported program is in the mode that it was exported in.
        with contextlib.suppress(NotImplementedError):
            module.eval()
        self.module = placed(module.requires_grad_(requires_grad=False), request)
        self.resolution = request.resolution
        self.source = LatentSource(
            latent_shape=tuple(latent_shape),
            classes=classes,
            noise_shapes=tuple(tuple(shape) for shape in noise_shapes),
            device=request.device,
            dtype=compute_dtype(request),
        )
        self.forward = forward or module
        self.architecture = None if architecture is None else dict(architecture)

    def synthesize(self, latents: Latents) -> Tensor:
        """Return images [batch, channels, side, side] in about [-1, 1]."""
        arguments = [latents.z] if latents.c is None else [latents.z, latents.c]
        if latents.noise is None:
            return self.forward(*arguments)
        return self.forward(*arguments, noise=latents.noise)
