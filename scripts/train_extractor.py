"""Train the embedded extractor on CIFAR-10 and write its weights and card.

    python scripts/train_extractor.py TRAIN.zip TEST.zip --out sfbench/quality/embedded

Reads zips in the StyleGAN layout with labels. Twelve epochs take about 15 minutes on two CPU
cores with bfloat16. The weights are what the card's digest says; a second run on another machine
gives other weights of the same accuracy within half a point.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from sfbench.api.images import ImageCollection
from sfbench.quality.embedded.network import POOLED, SIDE, CifarNetwork

EPOCHS = 12
BATCH = 500
PEAK_RATE = 0.5
WEIGHT_DECAY = 5e-4
SMOOTHING = 0.1
PADDING = 3
SEED = 1


class NormalizedNetwork(nn.Module):
    """The same network with batch normalization after each convolution, for training."""

    def __init__(self, network: CifarNetwork) -> None:
        super().__init__()
        self.network = network
        self.norms = nn.ModuleList(nn.BatchNorm2d(layer.out_channels) for layer in network.layers)

    def forward(self, images: Tensor) -> Tensor:
        """Return class logits."""
        x = images
        for index, (layer, norm) in enumerate(zip(self.network.layers, self.norms, strict=True)):
            x = F.conv2d(x, layer.weight, padding=1)
            if index in POOLED:
                x = F.max_pool2d(x, 2)
            x = F.relu(norm(x))
        return self.network.classifier(x.mean(dim=(2, 3)))

    def fold(self) -> None:
        """Put the normalization into the weights: its scale is positive, so it passes the pool."""
        with torch.no_grad():
            for layer, norm in zip(self.network.layers, self.norms, strict=True):
                factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
                if not (factor > 0).all():
                    msg = "a normalization scale is not positive: it cannot pass the max pool"
                    raise ValueError(msg)
                layer.weight *= factor[:, None, None, None]
                layer.bias.copy_(norm.bias - norm.running_mean * factor)


def load(path: Path) -> tuple[Tensor, Tensor]:
    """Return all images as uint8 [N, 3, 32, 32] and their labels."""
    images = ImageCollection(path)
    rows = [images.read(index, SIDE).pixels for index in range(len(images))]
    labels = [images.label(index) for index in range(len(images))]
    if None in labels:
        msg = f"{path}: {labels.count(None)} images have no label"
        raise SystemExit(msg)
    return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2), torch.tensor(labels)


def augmented(pixels: Tensor, source: torch.Generator) -> Tensor:
    """Return images in [-1, 1], each shifted by up to three pixels and half of them mirrored."""
    count = len(pixels)
    x = F.pad(pixels.float() / 127.5 - 1, [PADDING] * 4, mode="reflect")
    shifts = torch.randint(2 * PADDING + 1, (2, count, 1), generator=source)
    rows = (shifts[0] + torch.arange(SIDE))[:, None, :, None]
    columns = (shifts[1] + torch.arange(SIDE))[:, None, None, :]
    flipped = torch.rand(count, generator=source) < 0.5
    columns = torch.where(flipped[:, None, None, None], columns.flip(-1), columns)
    item = torch.arange(count)[:, None, None, None]
    return x[item, torch.arange(3)[None, :, None, None], rows, columns]


def train(pixels: Tensor, labels: Tensor) -> CifarNetwork:
    """Return the trained network with its normalization folded in."""
    torch.manual_seed(SEED)
    source = torch.Generator().manual_seed(SEED)
    network = CifarNetwork()
    model = NormalizedNetwork(network).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=PEAK_RATE, momentum=0.9, nesterov=True, weight_decay=WEIGHT_DECAY
    )
    steps = EPOCHS * (len(pixels) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, PEAK_RATE, total_steps=steps, anneal_strategy="linear", cycle_momentum=False
    )
    for epoch in range(EPOCHS):
        start, total = time.monotonic(), 0.0
        order = torch.randperm(len(pixels), generator=source)
        for index in range(len(pixels) // BATCH):
            chosen = order[index * BATCH : (index + 1) * BATCH]
            x = augmented(pixels[chosen], source).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16):
                loss = F.cross_entropy(model(x), labels[chosen], label_smoothing=SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            # A negative scale could not be folded through the max pool.
            with torch.no_grad():
                for norm in model.norms:
                    norm.weight.clamp_(min=1e-3)
            total += loss.item()
        seconds = time.monotonic() - start
        print(f"epoch {epoch + 1}: loss {total / (index + 1):.3f}, {seconds:.0f} s", flush=True)
    model.eval().fold()
    return network.eval().to(memory_format=torch.contiguous_format)


def seen(network: CifarNetwork, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Return features and logits of all images."""
    with torch.inference_mode():
        parts = [network(batch.float() / 127.5 - 1) for batch in pixels.split(BATCH)]
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


def main() -> None:
    """Train, standardize, test, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()

    pixels, labels = load(arguments.train)
    network = train(pixels, labels)
    features, _ = seen(network, pixels)
    network.shift.copy_(features.double().mean(dim=0))
    network.scale.copy_(1 / features.double().std(dim=0))
    test_pixels, test_labels = load(arguments.test)
    _, logits = seen(network, test_pixels)
    accuracy = (logits.argmax(dim=1) == test_labels).double().mean().item()

    arguments.out.mkdir(parents=True, exist_ok=True)
    weights = arguments.out / "cifar-cnn7.safetensors"
    save_file(network.state_dict(), weights)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    commit = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    card = f"""\
name = "cifar-cnn7"
file = "{weights.name}"
size = {weights.stat().st_size}
sha256 = "{digest}"
data = "CIFAR-10 (JPEG), training split, {len(pixels)} images; no other data"
data_sha256 = "{hashlib.sha256(arguments.train.read_bytes()).hexdigest()}"
test_accuracy = {accuracy:.4f}
test_images = {len(test_pixels)}
epochs = {EPOCHS}
seed = {SEED}
script = "scripts/train_extractor.py"
commit = "{commit}"
torch = "{torch.__version__}"
license = "Apache-2.0"
"""
    (arguments.out / "cifar-cnn7.toml").write_text(card)
    print(f"test accuracy {accuracy:.2%}, {weights.stat().st_size} bytes, sha256 {digest}")


if __name__ == "__main__":
    main()
