"""BigGAN and BigGAN-deep beside reference numbers: images, activations, state after, gradients."""

from __future__ import annotations

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

from reference_models.biggan import BigGAN, accumulate_standing
from reference_models.biggan_files import config_of

ZERO_GRADIENTS = ("conv1.bias", "conv2.bias", "conv3.bias", "conv4.bias", "conv_sc.bias")
"""In training mode a constant a channel is removed by the next norm: these are zero but for rounding."""
ZERO_FLOOR = 2e-6


def check_biggan(arrays: Arrays, meta: Mapping[str, Any]) -> Iterator[Check]:
    """Compare everything that a file of reference numbers holds."""
    state = tensors(arrays, "sd/")
    asked = meta["kwargs"]
    config = config_of(state, norm_eps=asked["BN_eps"], spectral_eps=asked["SN_eps"])
    yield "sizes", float(sizes_differ(config, asked)), 0.5
    network = BigGAN(config)
    network.load_state_dict(state)
    if "in/acc_z" in arrays:
        pairs = zip(arrays["in/acc_z"], arrays["in/acc_y"], strict=True)
        accumulate_standing(network, [(torch.from_numpy(z), torch.from_numpy(y)) for z, y in pairs])
    network.train(bool(meta.get("train_mode")))
    seen: dict[str, Tensor] = {}
    for name, part in network.named_modules():
        if f"act/{name}" in arrays:
            part.register_forward_hook(kept(seen, f"act/{name}"))
    z = torch.from_numpy(arrays["in/z"]).requires_grad_()
    image = network(z, torch.from_numpy(arrays["in/y"]))
    yield "out/img", relative_error(image, arrays["out/img"]), VALUE_TOLERANCE
    for key, value in seen.items():
        yield key, relative_error(value, arrays[key]), ACTIVATION_TOLERANCE
    after = network.state_dict()
    for key in (key for key in arrays if key.startswith("after/")):
        error = relative_error(after[key.removeprefix("after/")], arrays[key])
        yield key, error, VALUE_TOLERANCE
    if meta.get("loss"):
        (image * torch.from_numpy(arrays["in/fixed"])).sum().backward()
        yield "gradin/z", relative_error(z.grad, arrays["gradin/z"]), GRADIENT_TOLERANCE
        yield from gradients(network, arrays, training=bool(meta.get("train_mode")))


def gradients(network: nn.Module, arrays: Arrays, *, training: bool) -> Iterator[Check]:
    """Compare the gradients; what is zero but for rounding only with the largest of all."""
    for key, error, tolerance in gradient_checks(network, arrays, "grad/", GRADIENT_TOLERANCE):
        zero = training and key.endswith(ZERO_GRADIENTS)
        yield key, error, tolerance * (ZERO_FLOOR / 1e-6 if zero else 1)


def sizes_differ(config: Any, asked: Mapping[str, Any]) -> bool:
    """Return whether the sizes read off the tensors are not those that the network was made with."""
    shared = (asked["shared_dim"] or asked["dim_z"]) if asked["G_shared"] else None
    wanted = {
        "resolution": asked["resolution"],
        "channels": asked["G_ch"],
        "classes": asked["n_classes"],
        "hierarchical": asked["hier"],
        "shared_dim": shared,
        "attention": tuple(int(side) for side in asked["G_attn"].split("_") if side != "0"),
        "spectral": asked["G_param"] == "SN",
        "singular_values": asked["num_G_SVs"],
        "own_norm": asked["mybn"],
    }
    return any(getattr(config, name) != value for name, value in wanted.items())


def kept(seen: dict[str, Tensor], key: str) -> Any:
    """Return a forward hook that keeps what a part returned."""

    def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        seen[key] = output

    return hook
