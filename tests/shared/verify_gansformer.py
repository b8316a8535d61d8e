"""The GANsformer beside reference numbers: styles, images, maps, activations, gradients."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from comparing import (
    ACTIVATION_TOLERANCE,
    GRADIENT_TOLERANCE,
    VALUE_TOLERANCE,
    Arrays,
    Check,
    gradient_checks,
    relative_error,
    tensors,
)
from torch import Tensor, nn
from torch.nn import functional as F

from reference_models.bipartite_attention import Attended
from reference_models.gansformer import Gansformer, Layer, State
from reference_models.gansformer_files import gansformer_config, gansformer_state


def check_gansformer(arrays: Arrays, meta: Mapping[str, Any]) -> Iterator[Check]:
    """Compare everything that a file of reference numbers holds."""
    network = Gansformer(gansformer_config(meta["kwargs"]))
    network.load_state_dict(gansformer_state(tensors(arrays, "sd/")))
    network.train(bool(meta.get("train_mode")))
    seen: dict[str, Tensor] = {}
    for name, part in network.named_modules():
        part.register_forward_hook(kept(seen, f"act/{name}"))
    z = ws = None
    if "in/ws" in arrays:
        ws = torch.from_numpy(arrays["in/ws"]).requires_grad_()
    else:
        z = torch.from_numpy(arrays["in/z"]).requires_grad_()
        c = torch.from_numpy(arrays["in/c"]) if "in/c" in arrays else None
        ws = network.styles(z, c, **(meta.get("mapping_call") or {}))
        yield "out/ws", relative_error(ws, arrays["out/ws"]), VALUE_TOLERANCE
    attended: list[Attended] = []
    image = network.synthesis(ws, meta.get("noise_mode", "const"), network.pos, attended)
    yield "out/img", relative_error(image, arrays["out/img"]), VALUE_TOLERANCE
    if "out/att" in arrays:
        maps = all_maps(attended, meta["kwargs"]["img_resolution"])
        yield "out/att", relative_error(maps, arrays["out/att"]), VALUE_TOLERANCE
    if "out/w_avg_after" in arrays:
        moved = network.mapping.w_avg
        yield "out/w_avg_after", relative_error(moved, arrays["out/w_avg_after"]), VALUE_TOLERANCE
    for key in (key for key in arrays if key.startswith("act/")):
        error = relative_error(seen[key], arrays[key]) if key in seen else math.inf
        yield key, error, ACTIVATION_TOLERANCE
    if meta.get("loss"):
        (image * torch.from_numpy(arrays["in/fixed"])).sum().backward()
        for key, leaf in (("gradin/z", z), ("gradin/ws", ws)):
            if key in arrays and leaf is not None:
                yield key, relative_error(leaf.grad, arrays[key]), GRADIENT_TOLERANCE
        yield from gradient_checks(network, arrays, "grad/", GRADIENT_TOLERANCE)
        without = {name for name, one in network.named_parameters() if one.grad is None}
        wrong = set(meta["parameters_without_gradient"]) ^ without
        yield "parameters without gradient", float(len(wrong)), 0.5


def check_snapshot(arrays: Arrays, meta: Mapping[str, Any]) -> Iterator[Check]:
    """Compare the image of the averaged weights that a snapshot holds."""
    network = Gansformer(gansformer_config(meta["kwargs"])).eval()
    network.load_state_dict(gansformer_state(tensors(arrays, "Gs/")))
    image = network(torch.from_numpy(arrays["in/z"]), noise=meta.get("noise_mode", "const"))
    yield "out/img", relative_error(image, arrays["out/img"]), VALUE_TOLERANCE


def all_maps(attended: list[Attended], side: int) -> Tensor:
    """Return the maps [batch, components, layers, heads, side, side] as the program hands them out."""
    if not attended:
        return torch.zeros(1)
    maps = []
    for one in attended:
        small = math.isqrt(one.weights.shape[2])
        each = one.weights.transpose(2, 3)
        batch, heads, count = each.shape[:3]
        image = each.reshape(batch, heads * count, small, small)
        large = F.interpolate(image, size=(side, side), mode="nearest")
        maps.append(large.view(batch, heads, count, side, side).transpose(1, 2))
    return torch.stack(maps, dim=2)


def kept(seen: dict[str, Tensor], key: str) -> Any:
    """Return a forward hook that keeps what a part returned, under the names of the files."""

    def hook(module: nn.Module, _inputs: object, output: Any) -> None:
        if isinstance(output, Attended):
            of_latents = ".mlp." in key
            seen[f"{key}.x"] = output.x.flatten(0, 1) if of_latents else output.x
            batch, heads, places, count = output.weights.shape
            side = math.isqrt(places)
            maps = output.weights.transpose(2, 3)
            square = output.weights if of_latents else maps.reshape(batch * heads, count, side, -1)
            seen[f"{key}.att"] = square
        elif isinstance(output, State):
            seen[f"{key}.x"] = output.x if output.x is not None else torch.zeros(0)
            if output.image is not None:
                seen[f"{key}.img"] = output.image
        elif isinstance(module, Layer):
            seen[f"{key}.x"] = output[0]
        elif isinstance(output, Tensor):
            seen[key] = output

    return hook
