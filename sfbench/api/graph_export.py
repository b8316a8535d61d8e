"""A generator's torch module as an exported program with named inputs and any batch size."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from sfbench.api.errors import UnsupportedError, first_line
from sfbench.api.latents import Latents
from sfbench.api.module_generator import ModuleGenerator

if TYPE_CHECKING:
    from torch import Tensor
    from torch.export import ExportedProgram

EXAMPLES = 2
"""Images to trace with: sizes of 0 and 1 are special to torch's tracing."""


def inputs_of(latents: Latents) -> dict[str, Tensor]:
    """Return the inputs of a graph by name: z, c for labels, noise_0 and on for noise."""
    labels = {} if latents.c is None else {"c": latents.c}
    noise = {f"noise_{place}": one for place, one in enumerate(latents.noise or ())}
    return {"z": latents.z, **labels, **noise}


def exported_program(generator: ModuleGenerator) -> ExportedProgram:
    """Return the generator's images as a program of inputs z, c, noise_0 and on.

    Raises UnsupportedError where torch.export cannot trace the module with any batch size.
    """
    import torch  # sfbench.api must not import torch when imported

    class Named(torch.nn.Module):
        """Calls the generator with inputs by name."""

        def __init__(self) -> None:
            super().__init__()
            self.module = generator.module

        def forward(
            self, z: Tensor, c: Tensor | None = None, noise: tuple[Tensor, ...] | None = None
        ) -> Tensor:
            """Return the images."""
            return generator.synthesize(
                Latents(z=z, c=c, noise=None if noise is None else list(noise))
            )

    latents = generator.draw_latents(range(EXAMPLES))
    batch = torch.export.Dim("batch", min=1)
    more: dict[str, Any] = {} if latents.c is None else {"c": latents.c}
    if latents.noise is not None:
        more["noise"] = tuple(latents.noise)
    shapes = {
        name: tuple({0: batch} for _ in value) if isinstance(value, tuple) else {0: batch}
        for name, value in {"z": latents.z, **more}.items()
    }
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of tracing: what it cannot do is an error
        try:
            return torch.export.export(Named().eval(), (latents.z,), more, dynamic_shapes=shapes)
        except Exception as error:  # noqa: BLE001  # torch's tracing raises anything
            msg = f"torch.export cannot trace it with any batch size ({first_line(error)})"
            raise UnsupportedError(msg) from None
