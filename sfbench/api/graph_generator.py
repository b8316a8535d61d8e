"""The adapter that turns a graph with named inputs into an `ImageGenerator`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sfbench.api.errors import ContractError
from sfbench.api.graph_inputs import GraphInput, Roles, roles_of
from sfbench.api.latents import Drawing, Latents, LatentSource
from sfbench.api.output_form import FEWEST, OutputForm
from sfbench.api.spec import BuildRequest, check_size

if TYPE_CHECKING:
    from torch import Tensor, nn

Run = Callable[[Mapping[str, "Tensor"]], "Tensor"]
"""Computes the graph: inputs by name -> its first output."""


class GraphGenerator(Drawing):
    """Draws a graph's inputs from seeds and makes images in [-1, 1] of its output.

    `run` computes the graph on the request's device. What the inputs take and how the output looks
    is found out, unless the options (`GRAPH_OPTIONS`) say it, and stored in `architecture` with
    every record. A graph that is fixed to a number of images is called in pieces of that many, the
    last one filled up. `module`: the torch module behind it, if there is one.
    """

    def __init__(
        self,
        run: Run,
        inputs: Sequence[GraphInput],
        request: BuildRequest,
        *,
        where: str,
        architecture: Mapping[str, Any],
        module: nn.Module | None = None,
    ) -> None:
        options = request.options
        self.run = run
        self.module = module
        self.resolution = request.resolution
        self.roles: Roles = roles_of(inputs, options, where)
        self.source = LatentSource(
            latent_shape=self.roles.latent_shape,
            classes=self.roles.classes,
            noise_shapes=self.roles.noise_shapes,
            distribution="uniform" if options["distribution"] == "uniform" else "normal",
            one_hot=self.roles.one_hot,
            device=request.device,
            dtype=self.roles.latent.dtype,
        )
        self.fixed = {
            one.name: self.filled(one, value, request.device)
            for one, value in self.roles.constants.items()
        }
        self.form = self.seen_form(request, where)
        self.architecture = {
            **architecture,
            "inputs": self.roles.described(),
            **self.source.described(),
            "output": {
                "range": self.form.range,
                "layout": self.form.layout,
                "channels": self.form.channels,
                "converted in each call": self.form.converted,
            },
        }

    def filled(self, one: GraphInput, value: float, device: str) -> Tensor:
        """Return a constant input; a free dimension has size 1."""
        import torch  # sfbench.api must not import torch when imported

        shape = [1 if size is None else size for size in one.shape]
        dtype: torch.dtype = getattr(torch, one.dtype)
        return torch.full(shape, value, dtype=dtype, device=device)

    def seen_form(self, request: BuildRequest, where: str) -> OutputForm:
        """Return the form of the output; raises UnsupportedError for another size than asked for."""
        import torch  # sfbench.api must not import torch when imported

        options = request.options
        shapes_only = request.device == "meta"
        with torch.inference_mode():
            raw = self.raw(self.draw_latents(range(1 if shapes_only else FEWEST)))
        said = str(options["range"] or ("signed" if shapes_only else ""))
        try:
            form = OutputForm.of(raw, said, str(options["layout"] or ""))
        except ContractError as error:
            msg = f"{where}: {error}"
            raise ContractError(msg) from None
        check_size(where, form.height, form.width, request)
        return form

    def synthesize(self, latents: Latents) -> Tensor:
        """Return images [batch, channels, height, width] in [-1, 1]."""
        return self.form.images(self.raw(latents))

    def raw(self, latents: Latents) -> Tensor:
        """Return the graph's output as it is."""
        inputs = {self.roles.latent.name: latents.z, **self.fixed}
        if self.roles.labels is not None and latents.c is not None:
            inputs[self.roles.labels.name] = self.as_labels(latents.c)
        for one, noise in zip(self.roles.noise, latents.noise or (), strict=True):
            inputs[one.name] = noise
        count, fixed = latents.z.shape[0], self.roles.batch
        if fixed is None or fixed == count:
            return self.run(inputs)
        return self.in_pieces(inputs, count, fixed)

    def as_labels(self, labels: Tensor) -> Tensor:
        """Return class numbers in the shape and type of the graph's input."""
        import torch  # sfbench.api must not import torch when imported

        asked = self.roles.labels
        if asked is None or self.roles.one_hot:
            return labels
        dtype: torch.dtype = getattr(torch, asked.dtype)
        return labels.to(dtype).reshape(labels.shape[0], *(1,) * (len(asked.shape) - 1))

    def in_pieces(self, inputs: Mapping[str, Tensor], count: int, size: int) -> Tensor:
        """Return the output for any number of images of a graph that is fixed to `size`."""
        import torch  # sfbench.api must not import torch when imported

        pieces = []
        for start in range(0, count, size):
            rows = [min(start + row, count - 1) for row in range(size)]
            part = {
                name: tensor if name in self.fixed else tensor[rows]
                for name, tensor in inputs.items()
            }
            pieces.append(self.run(part)[: count - start])
        return torch.cat(pieces)
