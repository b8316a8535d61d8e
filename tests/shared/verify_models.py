"""Check reference_models against files of reference numbers: `python verify_models.py FILE.npz...`.

One line a file: its name, ok or FAILED, the worst relative error and where. Exits 1 when any file
is beyond tolerance: images, style vectors and logits 5e-6 of the largest reference value; first
order gradients 2e-5 a tensor; gradients of the R1 penalty 1e-4; a gradient's error may always be
1e-6 of the network's largest gradient (gradients that are zero but for rounding). Intermediate
activations, which no tolerance is set for, are held to 2e-5.

Minibatch deviation can amplify float32 rounding so much that a gradient of the R1 penalty is not
reproducible to 1e-4 by any program: the reference itself then stands further than that from the
float64 value. Such a tensor may err by 3 times its own rounding noise, at most 1e-3: the largest
distance from float64 over runs whose weights are moved by half a unit in the last place.
"""

from __future__ import annotations

import copy
import itertools
import json
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from comparing import (
    ACTIVATION_TOLERANCE,
    GRADIENT_TOLERANCE,
    PENALTY_GRADIENT_TOLERANCE,
    VALUE_TOLERANCE,
    Arrays,
    Check,
    gradient_checks,
    relative_error,
    tensors,
)
from verify_biggan import check_biggan
from verify_gansformer import check_gansformer, check_snapshot

from reference_models import official, resampling
from reference_models.activation import LEAKY_SLOPE, leaky_relu
from reference_models.adversarial import AdversarialLearner
from reference_models.adversarial_config import AdversarialConfig
from reference_models.discriminator import Discriminator
from reference_models.mapping import broadcast_styles
from reference_models.style_generator import StyleGenerator
from reference_models.styleformer import Styleformer
from reference_models.stylegan2 import StyleGAN2
from reference_models.token_stream import TokenStream

TOKENS_NDIM = 3
NOISE_RUNS = 6


def loaded(module: nn.Module, state: dict[str, Tensor]) -> nn.Module:
    """Return the module with every one of its tensors taken from `state`."""
    module.load_state_dict(official.official_state(state), strict=True)
    return module


def check_generator(arrays: Arrays, meta: Mapping[str, Any]) -> Iterator[Check]:  # noqa: C901  # a list of comparisons
    """Compare style vectors, images, activations and gradients of a generator."""
    state = tensors(arrays, "sd/")
    generator: StyleGenerator
    if meta["kind"] == "styleformer_generator":
        start = official.start_resolution(state)
        generator = Styleformer(official.styleformer_config(meta["kwargs"], start_resolution=start))
    else:
        generator = StyleGAN2(official.stylegan2_config(meta["kwargs"]))
    loaded(generator, state)
    generator.train(bool(meta.get("train_mode")))
    z = torch.from_numpy(arrays["in/z"]).requires_grad_()
    c = torch.from_numpy(arrays["in/c"]) if "in/c" in arrays else None
    if "in/ws" in arrays:
        ws = torch.from_numpy(arrays["in/ws"])
    else:
        call = meta.get("mapping_call") or {}
        ws = broadcast_styles(
            generator.mapping(z, c),
            generator.num_ws,
            w_avg=generator.mapping.w_avg,
            truncation_psi=call.get("truncation_psi", 1.0),
            truncation_cutoff=call.get("truncation_cutoff"),
        )
        yield "out/ws", relative_error(ws, arrays["out/ws"]), VALUE_TOLERANCE
    ws.retain_grad() if ws.requires_grad else None
    seen: dict[str, Tensor] = {}
    for name, block in generator.named_modules():
        if f"act/{name}.x" in arrays:
            block.register_forward_hook(remember(seen, name))
    image = generator.synthesis(ws, meta.get("noise_mode", "const"))
    yield "out/img", relative_error(image, arrays["out/img"]), VALUE_TOLERANCE
    for key, value in seen.items():
        if key in arrays:
            # The last block of a resolution is recorded after its tokens were doubled in size.
            doubled = value.ndim == TOKENS_NDIM and arrays[key].shape[1] == 4 * value.shape[1]
            features = TokenStream.doubled(value).gathered() if doubled else value
            yield key, relative_error(features, arrays[key]), ACTIVATION_TOLERANCE
    if "out/w_avg_after" in arrays:
        error = relative_error(generator.mapping.w_avg, arrays["out/w_avg_after"])
        yield "out/w_avg_after", error, VALUE_TOLERANCE
    if meta.get("loss"):
        image.square().sum().backward()
        for key, leaf in (("gradin/z", z), ("gradin/ws", ws)):
            if key in arrays and leaf.grad is not None:
                yield key, relative_error(leaf.grad, arrays[key]), GRADIENT_TOLERANCE
        yield from gradient_checks(generator, arrays, "grad/", GRADIENT_TOLERANCE)


def remember(seen: dict[str, Tensor], name: str) -> Any:
    """Return a forward hook that keeps a block's features and image."""

    def hook(_module: nn.Module, _inputs: object, output: object) -> None:
        parts = output if isinstance(output, tuple) else (output,)
        for suffix, value in zip(("x", "img"), parts, strict=False):
            if isinstance(value, Tensor):
                seen[f"act/{name}.{suffix}"] = value

    return hook


def check_discriminator(arrays: Arrays, meta: Mapping[str, Any]) -> Iterator[Check]:
    """Compare logits, the gradients of softplus(-logits), the R1 penalty and its gradients."""
    network = Discriminator(official.discriminator_config(meta["kwargs"]))
    loaded(network, tensors(arrays, "sd/"))
    image = torch.from_numpy(arrays["in/img"]).requires_grad_()
    c = torch.from_numpy(arrays["in/c"]) if "in/c" in arrays else None
    logits = network(image, c)
    yield "out/logits", relative_error(logits, arrays["out/logits"]), VALUE_TOLERANCE
    loss = F.softplus(-logits).mean()
    yield "out/loss_dreal", relative_error(loss, arrays["out/loss_dreal"]), VALUE_TOLERANCE
    loss.backward()
    yield from gradient_checks(network, arrays, "grad_dreal/", GRADIENT_TOLERANCE)
    network.zero_grad()
    slope, penalty = r1_penalty(network, image, c)
    yield "out/r1_grads", relative_error(slope, arrays["out/r1_grads"]), GRADIENT_TOLERANCE
    yield "out/r1_penalty", relative_error(penalty, arrays["out/r1_penalty"]), GRADIENT_TOLERANCE
    (penalty.mean() * meta["r1_gamma"] / 2).backward()
    noise = r1_rounding_noise(network, image, c, meta["r1_gamma"])
    yield from gradient_checks(network, arrays, "grad_r1/", PENALTY_GRADIENT_TOLERANCE, noise)


def r1_penalty(network: nn.Module, image: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the gradient of the summed logits by the image, and its squared norm a sample."""
    (slope,) = torch.autograd.grad(network(image, c).sum(), image, create_graph=True)
    return slope, slope.square().sum(dim=(1, 2, 3))


def r1_rounding_noise(
    network: nn.Module, image: Tensor, c: Tensor | None, gamma: float
) -> dict[str, float]:
    """Return how far float32 rounding moves each gradient of the R1 loss from its float64 value."""

    def gradients(module: nn.Module) -> dict[str, Tensor]:
        dtype = next(module.parameters()).dtype
        label = None if c is None else c.to(dtype)
        real = image.detach().to(dtype).requires_grad_()
        _, penalty = r1_penalty(module, real, label)
        named = dict(module.named_parameters())
        values = torch.autograd.grad(
            penalty.mean() * gamma / 2, list(named.values()), allow_unused=True
        )
        return {
            name: torch.zeros_like(parameter) if value is None else value
            for (name, parameter), value in zip(named.items(), values, strict=True)
        }

    exact = gradients(copy.deepcopy(network).double())
    noise = dict.fromkeys(exact, 0.0)
    generator = torch.Generator().manual_seed(0)
    for _ in range(NOISE_RUNS):
        moved = copy.deepcopy(network)
        for parameter in moved.parameters():
            sign = torch.randint(0, 2, parameter.shape, generator=generator) * 2 - 1
            parameter.data.mul_(1 + sign * 2.0**-24)
        for name, value in gradients(moved).items():
            noise[name] = max(noise[name], (value - exact[name]).abs().max().item())
    return noise


class RecordedShard:
    """The whole batch of a recorded loss: its latents, images and directions; noise as stored."""

    count = 1
    labels = None

    def __init__(self, arrays: Arrays, generator: Styleformer) -> None:
        self.images = torch.from_numpy(arrays["in/real"])
        half = torch.from_numpy(arrays["in/pl_noise_raw"])
        self.numbers = {
            "z": torch.from_numpy(arrays["in/z"]),
            "directions": torch.cat([half, half]),
        }
        stored = [tensor for name, tensor in generator.named_buffers() if "noise_const" in name]
        for index, noise in enumerate(stored):
            self.numbers[f"noise {index}"] = noise.expand(len(self.images), *noise.shape)

    def normal(self, use: str, *_shape: int) -> Tensor:
        """Return what was recorded for the use, whatever the phase."""
        return self.numbers[use.partition("/")[2]]

    def drawn_labels(self, _use: str) -> None:
        """Return no labels: there are no classes."""


def check_loss(arrays: Arrays, meta: Mapping[str, Any]) -> Iterator[Check]:
    """Compare the losses, gradients and running means of every phase of a training step."""
    for index, name in enumerate(("Gmain", "Greg", "Dmain", "Dreg")):
        config = official.styleformer_config(meta["kwargs_G"], start_resolution=8)
        generator = loaded(Styleformer(config), tensors(arrays, "G/sd/"))
        network = Discriminator(official.discriminator_config(meta["kwargs_D"]))
        loaded(network, tensors(arrays, "D/sd/"))
        settings = AdversarialConfig(
            gamma=meta["r1_gamma"], path_length=meta["pl_weight"], mixing=0, augment="none"
        )
        learner = AdversarialLearner(
            generator, network, settings.resolved(16, 4, 4), batch=4, autocast=nullcontext
        )
        learner.path_length_average.fill_(meta["pl_mean_init"])
        phase = list(learner.phases(0))[index]
        for parameter in phase.parameters:
            parameter.requires_grad_()
        found = phase.losses(RecordedShard(arrays, generator), {})
        found.minimized.backward()
        phase.after(found.means)
        yield from report_checks(name, found.means, arrays)
        learning = generator if name.startswith("G") else network
        tolerance = PENALTY_GRADIENT_TOLERANCE if name.endswith("reg") else GRADIENT_TOLERANCE
        yield from gradient_checks(learning, arrays, f"{name}/grad/", tolerance)
        if name != "Dreg":
            moved = generator.mapping.w_avg
            error = relative_error(moved, arrays[f"{name}/w_avg_after"])
            yield f"{name}/w_avg_after", error, VALUE_TOLERANCE
        if name == "Greg":
            moved = learner.path_length_average
            yield "pl_mean_after", relative_error(moved, arrays["Greg/pl_mean_after"]), LOSS


LOSS = 1e-5
REPORTED = {
    "G/loss": "G/loss",
    "D/loss": "D/loss",
    "G/path_length": "pl_penalty",
    "D/r1": "r1_penalty",
}
REPORTED |= {"scores/fake": "scores/fake", "scores/real": "scores/real"}


def report_checks(name: str, means: Mapping[str, Tensor], arrays: Arrays) -> Iterator[Check]:
    """Compare what a phase reports: ours are means over the batch."""
    for ours, theirs in REPORTED.items():
        key = f"{name}/report/Loss/{theirs}"
        if ours in means and key in arrays:
            expected = np.float32(arrays[key].astype(np.float64).mean())
            yield key, relative_error(means[ours], expected), LOSS


def check_ops(arrays: Arrays, _meta: Mapping[str, Any]) -> Iterator[Check]:
    """Compare filters, resampling, activations and resampling convolutions."""
    x, taps = torch.from_numpy(arrays["in/x"]), torch.from_numpy(arrays["in/fa"])
    binomial = resampling.filter_kernel(resampling.BINOMIAL)
    got = {
        "out/filter_1331": binomial,
        "out/filter_1d12": resampling.filter_kernel([float(tap) for tap in range(1, 13)]),
        "out/filter_asym2d": resampling.filter_kernel(torch.tensor([[1.0, 2.0], [3.0, 5.0]])),
        "out/upsample2d": resampling.upsample2d(x),
        "out/downsample2d": resampling.downsample2d(x),
        "out/filter2d": resampling.upfirdn2d(x, resampling.binomial_like(x), padding=(2, 1, 2, 1)),
    }
    for key, flip in (("out/upfirdn_asym", False), ("out/upfirdn_asym_flip", True)):
        # The trailing padding is not recorded; any that gives the recorded size gives the values.
        for right, bottom in itertools.product((-2, -1, 0), (3, 4)):
            y = resampling.upfirdn2d(
                x, taps, up=(2, 3), down=(3, 2), padding=(2, right, 1, bottom), flip=flip, gain=1.7
            )
            if y.shape == arrays[key].shape:
                got[key] = y
    w, w1 = torch.from_numpy(arrays["in/w"]), torch.from_numpy(arrays["in/w1"])
    turned = w.flip((2, 3))
    between = F.conv2d(
        resampling.upfirdn2d(x, binomial, up=(2, 2), padding=(4, 3, 4, 3), gain=4.0), w
    )
    got |= {
        "out/conv2d_resample_up1_down1_flip1": F.conv2d(x, w, padding=1),
        "out/conv2d_resample_up1_down1_flip0": F.conv2d(x, turned, padding=1),
        "out/conv2d_resample_up2_down1_flip0": resampling.conv2d_up(x, w),
        "out/conv2d_resample_up2_down1_flip1": resampling.conv2d_up(x, turned),
        "out/conv2d_resample_up1_down2_flip1": resampling.conv2d_down(x, w),
        "out/conv2d_resample_up2_down2_flip1": resampling.upfirdn2d(between, binomial, down=(2, 2)),
        "out/conv1x1_up2": resampling.conv2d_up(x, w1),
        "out/conv1x1_down2": resampling.conv2d_down(x, w1),
    }
    biased = x + torch.from_numpy(arrays["in/b"])[:, None, None]
    for key in (key for key in arrays if key.startswith("out/bias_act_")):
        got[key] = activated(biased, key.removeprefix("out/bias_act_"))
    for key in (key for key in arrays if key.startswith("out/")):
        error = relative_error(got[key], arrays[key]) if key in got else float("inf")
        yield key, error, VALUE_TOLERANCE


def activated(x: Tensor, case: str) -> Tensor:
    """Return the activation that a case such as `lrelu_a0.1_g2_c0.5` names: slope, gain, clamp."""
    name, *settings = case.split("_")
    values = {setting[0]: float(setting[1:]) for setting in settings}
    slope = values.get("a", LEAKY_SLOPE)
    function = {
        "linear": lambda x: x,
        "relu": F.relu,
        "lrelu": lambda x: F.leaky_relu(x, slope),
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "elu": F.elu,
        "selu": F.selu,
        "softplus": F.softplus,
        "swish": F.silu,
    }[name]
    gain = values.get("g", math.sqrt(2) if name in {"relu", "lrelu", "swish"} else 1.0)
    clamp = values.get("c")
    if name == "lrelu" and slope == LEAKY_SLOPE:
        return leaky_relu(x, gain=gain, clamp=clamp)
    y = function(x) * gain
    return y if clamp is None else y.clamp(-clamp, clamp)


def main(paths: list[str]) -> int:
    """Print a line a file; return 1 when any comparison is beyond its tolerance."""
    failed = not paths
    for path in paths:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
        meta = json.loads(str(arrays.pop("meta")))
        check = CHECKS.get(meta["kind"])
        if check is None:
            print(f"{Path(path).name}: skipped, no check for kind {meta['kind']!r}")
            continue
        results = list(check(arrays, meta))
        key, error, tolerance = max(results, key=lambda item: item[1] / item[2])
        bad = not results or error > tolerance
        failed |= bad
        print(
            f"{Path(path).name}: {'FAILED' if bad else 'ok'}, {len(results)} comparisons, "
            f"worst {error:.1e} of {tolerance:.0e} allowed at {key}"
        )
    return int(failed)


CHECKS = {
    "biggan_generator": check_biggan,
    "biggan_deep_generator": check_biggan,
    "gansformer_generator": check_gansformer,
    "gansformer_snapshot": check_snapshot,
    "loss": check_loss,
    "styleformer_generator": check_generator,
    "stylegan2_generator": check_generator,
    "discriminator": check_discriminator,
    "ops": check_ops,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
