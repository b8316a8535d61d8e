"""Show that the embedded extractor's distance rises with damage: the table and plot of docs/.

    python scripts/sensitivity.py CIFAR10-TEST.zip --out docs/embedded-extractor

Images against themselves with noise, blur, JPEG loss and dropped classes, in five rising steps, on
CIFAR-10 test images at 32 px and on `shapes` at 256 px. Needs matplotlib for the plot. Exits 1
where a distance does not rise with every step.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter
from scipy import stats

from sfbench.api.protocols import Dataset
from sfbench.data.shapes import ShapesDataset
from sfbench.data.sources import locate, open_dataset
from sfbench.quality.embedded.extractor import CifarExtractor
from sfbench.quality.features import Preprocessing
from sfbench.quality.frechet import frechet_distance
from sfbench.quality.statistics import Rows, moments_of
from sfbench.values.sizes import square

JPEG_QUALITIES = (90, 70, 30, 20, 10)
"""Not 40 to 60: these CIFAR-10 files are JPEG of quality 75, whose steps are half those of quality
50, so that every odd coefficient is rounded up there and contrast rises: the distance is then 21,
against 5 at quality 30. The damage itself does not rise between them."""
SEED = 0
BATCH = 100
Damage = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def noise(image: np.ndarray, level: float, source: np.random.Generator) -> np.ndarray:
    """Return the image with Gaussian noise of that many levels."""
    noisy = image + source.normal(0, level, image.shape)
    return np.rint(noisy.clip(0, 255)).astype(np.uint8)


def blur(image: np.ndarray, radius: float, _source: np.random.Generator) -> np.ndarray:
    """Return the image blurred by a Gaussian of that standard deviation in pixels."""
    return np.array(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))


def jpeg(image: np.ndarray, quality: float, _source: np.random.Generator) -> np.ndarray:
    """Return the image after JPEG coding at that quality."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=int(quality))
    return np.array(Image.open(buffer))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """One kind of damage in five rising steps."""

    name: str
    steps: tuple[float, ...]
    damage: Damage | None = None
    """None: the given share of classes is dropped."""


def ladders(side: int, classes: int) -> list[Ladder]:
    """Return the ladders for images of that side."""
    scale = side / 32
    return [
        Ladder(name="noise (levels)", steps=(4, 8, 16, 32, 64), damage=noise),
        Ladder(
            name="blur (px)",
            steps=tuple(scale * radius for radius in (0.3, 0.5, 0.8, 1.2, 2.0)),
            damage=blur,
        ),
        Ladder(name="JPEG (quality)", steps=JPEG_QUALITIES, damage=jpeg),
        Ladder(name="share of classes dropped", steps=dropped(classes)),
    ]


def dropped(classes: int) -> tuple[float, ...]:
    """Return five rising shares: whole classes, and halves of one where there are few."""
    return tuple(step / 10 for step in range(1, 6)) if classes >= 10 else (0.1, 0.2, 0.4, 0.6, 0.8)


def kept(labels: np.ndarray, classes: int, share: float) -> np.ndarray:
    """Return which images remain after dropping that share of classes; of a half class, half."""
    gone = share * classes
    whole = labels < int(gone)
    part = (labels == int(gone)) & (np.arange(len(labels)) % 2 == 0) & (gone > int(gone))
    return ~(whole | part)


def features(extractor: CifarExtractor, images: Sequence[np.ndarray]) -> Rows:
    """Return the features of uint8 images [height, width, 3]."""
    view = Preprocessing(extractor, "bytes", extractor.resize)
    parts = []
    for start in range(0, len(images), BATCH):
        pixels = torch.from_numpy(np.stack(images[start : start + BATCH])).permute(0, 3, 1, 2)
        parts.append(extractor(view.prepared(pixels)).pooled.numpy())
    return np.concatenate(parts)


def climbed(
    extractor: CifarExtractor, dataset: Dataset, count: int, classes: int
) -> list[tuple[Ladder, list[float], float]]:
    """Return each ladder with its distances and their rank correlation with the steps."""
    images = [dataset.read(i).pixels.permute(1, 2, 0).numpy() for i in range(count)]
    labels = np.asarray(dataset.labels(range(count)))
    clean = features(extractor, images)
    reference = moments_of(clean)
    found = []
    for ladder in ladders(images[0].shape[0], classes):
        distances = []
        for step in ladder.steps:
            source = np.random.default_rng(SEED)
            if ladder.damage is None:
                rows = clean[kept(labels, classes, step)]
            else:
                rows = features(extractor, [ladder.damage(i, step, source) for i in images])
            distances.append(frechet_distance(moments_of(rows), reference))
        order = stats.spearmanr(range(len(distances)), distances).statistic
        found.append((ladder, distances, float(order)))
        print(ladder.name, [f"{d:.4g}" for d in distances], f"Spearman {order:.2f}", flush=True)
    return found


def table(title: str, found: Sequence[tuple[Ladder, list[float], float]]) -> str:
    """Return one data set's rows in Markdown."""
    lines = [
        f"### {title}",
        "",
        "| damage | step 1 | 2 | 3 | 4 | 5 | Spearman |",
        "| --- |" + " --- |" * 6,
    ]
    for ladder, distances, order in found:
        cells = [f"{d:.4g} ({s:g})" for s, d in zip(ladder.steps, distances, strict=True)]
        cells += [""] * (5 - len(cells))
        lines.append(f"| {ladder.name} | {' | '.join(cells)} | {order:.2f} |")
    return "\n".join(lines)


def plot(path: Path, sets: Sequence[tuple[str, list[tuple[Ladder, list[float], float]]]]) -> None:
    """Write the plot as SVG."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "sfbench"
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(sets), figsize=(9, 3.6), layout="constrained")
    colors = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
    marks = ("o", "s", "^", "D")
    for axis, (title, found) in zip(axes, sets, strict=True):
        for (ladder, distances, _), color, mark in zip(found, colors, marks, strict=True):
            steps = range(1, len(distances) + 1)
            axis.plot(steps, distances, color=color, marker=mark, label=ladder.name)
        axis.set(title=title, xlabel="step of damage", ylabel="fd[cifar-cnn7]", yscale="log")
        axis.set_xticks(range(1, 6))
        axis.grid(visible=True, alpha=0.3)
    axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Measure, write table and plot, and judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cifar", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=5000)
    arguments = parser.parse_args()
    extractor = CifarExtractor("cpu")
    cifar = open_dataset(locate(str(arguments.cifar)), None)
    sets = [
        ("CIFAR-10 (JPEG) test, 32 px", climbed(extractor, cifar, arguments.count, 10)),
        ("shapes, 256 px", climbed(extractor, ShapesDataset(square(256)), arguments.count // 5, 5)),
    ]
    text = "\n\n".join(table(title, found) for title, found in sets)
    print(text)
    plot(arguments.out.with_suffix(".svg"), sets)
    sys.exit(any(order < 1 for _, found in sets for *_, order in found))


if __name__ == "__main__":
    main()
