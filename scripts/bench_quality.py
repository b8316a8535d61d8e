"""Time sfbench's quality path against its peers, interleaved in one run: `nox -s bench_quality`.

    python scripts/bench_quality.py [NAME...]

Each row is a ratio, peer's time over ours, from quads in the order ABBA: the geometric mean over
quads and a 95 % bootstrap interval. Inception-v3 has random weights, the same for everyone. No name
runs all: pass, metrics, frechet, resize.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cleanfid import fid as clean_fid
from cleanfid.resize import make_resizer
from PIL import Image
from random_inception import random_inception
from torch.utils.data import Dataset
from torch_fidelity import calculate_metrics, register_feature_extractor
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.interpolate_compat_tensorflow import (
    interpolate_bilinear_2d_like_tensorflow1x,
)

from sfbench.api.spec import ExtractorRequest
from sfbench.data.containers.files import ImageFiles
from sfbench.data.dataset import ContainerDataset
from sfbench.data.shapes import ShapesDataset
from sfbench.data.sources import locate
from sfbench.quality.comparison import Comparison
from sfbench.quality.feature_store import FeatureStore
from sfbench.quality.features import FeaturePass, Preprocessing
from sfbench.quality.frechet import frechet_distance
from sfbench.quality.image_sets import RealImages
from sfbench.quality.inception import LAYERS, InceptionExtractor
from sfbench.quality.protocols import read_protocol
from sfbench.quality.resizing import pil_bicubic, tf1_bilinear
from sfbench.quality.statistics import Moments, moments_of
from sfbench.store.content import file_sha256
from sfbench.values.sizes import square

SIDE = 32
PASS_IMAGES = 32
METRIC_IMAGES = 48
DIMENSION = 2048
BOOTSTRAPS = 10_000
RESIZED_IMAGES = 64

Work = Callable[[], object]


def seconds(work: Work) -> float:
    """Return how long the work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(name: str, goal: float, peer: Work, ours: Work, quads: int) -> None:
    """Print the ratio of the peer's time to ours, over ABBA quads after one warm call each."""
    peer(), ours()
    logs, times = [], []
    for _ in range(quads):
        first, ours_first = seconds(peer), seconds(ours)
        ours_second, second = seconds(ours), seconds(peer)
        logs.append(math.log((first + second) / (ours_first + ours_second)))
        times.append(((first + second) / 2, (ours_first + ours_second) / 2))
    drawn = np.random.default_rng(0).choice(logs, (BOOTSTRAPS, len(logs))).mean(axis=1)
    low, high = np.exp(np.quantile(drawn, [0.025, 0.975]))
    theirs, own = np.median(times, axis=0)
    reached = "reached" if math.exp(np.mean(logs)) >= goal else "MISSED"
    print(
        f"{name:<52} {math.exp(np.mean(logs)):6.2f} x  [{low:.2f}, {high:.2f}]  goal {goal:g} {reached}"
        f"  ({theirs:.4g} s against {own:.4g} s, {quads} quads)",
        flush=True,
    )


class Bytes(Dataset[torch.Tensor]):
    """Images as torch-fidelity takes them."""

    def __init__(self, images: torch.Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor:
        """Return one, uint8."""
        return self.images[index]


def scenes(first: int, count: int) -> torch.Tensor:
    """Return drawn scenes, uint8."""
    dataset = ShapesDataset(square(SIDE))
    return torch.stack([dataset.read(index).pixels for index in range(first, first + count)])


def folder_of(images: torch.Tensor, place: Path) -> Path:
    """Write images as PNG files and return their folder."""
    place.mkdir()
    for index, image in enumerate(images):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(place / f"{index:05d}.png")
    return place


def bench_pass(weights: Path, place: Path) -> None:
    """The feature pass at 32 px, resize and network, ours in fast mode."""
    images = scenes(0, PASS_IMAGES)
    network = FeatureExtractorInceptionV3("x", LAYERS, feature_extractor_weights_path=str(weights))
    dataset = ContainerDataset(ImageFiles(folder_of(images, place / "pass")), None, "0" * 64)

    def peer() -> None:
        with torch.inference_mode():
            for batch in images.split(32):
                network(batch)

    def ours(*, fast: bool) -> Work:
        request = ExtractorRequest(weights=weights, sha256=file_sha256(weights), fast=fast)
        extractor = InceptionExtractor(request, standard=False)

        def work() -> None:
            with tempfile.TemporaryDirectory() as store:
                forward = FeaturePass(progress=lambda *_: None, device="cpu")
                image_set = RealImages(dataset=dataset, indices=range(len(images)))
                preprocessing = Preprocessing(extractor, "bytes", extractor.resize)
                forward.extract(image_set, preprocessing, FeatureStore(Path(store)), logits=True)

        return work

    compare("feature pass, fast, against torch-fidelity", 1.7, peer, ours(fast=True), 8)
    compare("feature pass, exact, against torch-fidelity", 1.3, peer, ours(fast=False), 8)


class Features2048(FeatureExtractorBase):  # type: ignore[misc]  # torch-fidelity has no types
    """torch-fidelity's network under a name of its own, so that precision and recall use it."""

    path = ""

    def __init__(self, name: str, features_list: list[str], **_: Any) -> None:
        super().__init__(name, features_list)
        self.network = FeatureExtractorInceptionV3(
            name, features_list, feature_extractor_weights_path=self.path
        )

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the features asked for."""
        found: tuple[torch.Tensor, ...] = self.network(images)
        return found

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        """Return the layers."""
        return ("2048", "logits_unbiased")

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        """Return a metric's layer."""
        return "logits_unbiased" if metric == "isc" else "2048"

    @staticmethod
    def can_be_compiled() -> bool:
        """Return that it is used as it is."""
        return False

    @staticmethod
    def get_dummy_input_for_compile() -> None:
        """Return nothing: it is not compiled."""


def bench_metrics(weights: Path, place: Path) -> None:
    """All metrics from one pass, against the usual four programs one after another."""
    images = {"real": scenes(0, METRIC_IMAGES), "gen": scenes(9_000, METRIC_IMAGES)}
    folders = {name: folder_of(rows, place / name) for name, rows in images.items()}
    digest = file_sha256(weights)
    exact = InceptionExtractor(ExtractorRequest(weights=weights, sha256=digest), standard=False)
    fast = InceptionExtractor(
        ExtractorRequest(weights=weights, sha256=digest, fast=True), standard=False
    )
    Features2048.path = str(weights)
    register_feature_extractor("bench-inception", Features2048)

    def clean_features(name: str) -> np.ndarray:
        found: np.ndarray = clean_fid.get_folder_features(
            str(folders[name]),
            model=lambda x: exact(x).pooled,
            num_workers=0,
            device=torch.device("cpu"),
            mode="clean",
            verbose=False,
        )
        return found

    def peer() -> None:
        clean_fid.fid_from_feats(clean_features("gen"), clean_features("real"))
        gen, real = clean_features("gen"), clean_features("real")
        clean_fid.kernel_distance(real, gen)
        asked = {
            "feature_extractor": "bench-inception",
            "cuda": False,
            "cache": False,
            "verbose": False,
            "save_cpu_ram": True,
        }
        calculate_metrics(input1=Bytes(images["gen"]), isc=True, isc_splits=10, **asked)
        calculate_metrics(
            input1=Bytes(images["gen"]), input2=Bytes(images["real"]), prc=True, **asked
        )

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder:
            store = FeatureStore(Path(folder))
            image_set = {
                name: RealImages(
                    dataset=ContainerDataset(ImageFiles(path), None, str(locate(str(path)).sha256)),
                    indices=range(METRIC_IMAGES),
                )
                for name, path in folders.items()
            }
            list(
                Comparison(
                    generated=image_set["gen"],
                    reference=image_set["real"],
                    protocols=[read_protocol("sfbench")],
                    open_extractor=lambda _: fast,
                    forward=FeaturePass(progress=lambda *_: None, device="cpu"),
                    stores=(store, store),
                    extractor=fast.name,
                ).readings()
            )

    compare("FID, KID, IS, P&R and more, against four runs", 2.0, peer, ours, 2)


def bench_frechet(_weights: Path, _place: Path) -> None:
    """The Frechet distance from moments of full rank, 2048 features."""
    source = np.random.default_rng(0)
    rotation, _ = np.linalg.qr(source.normal(size=(DIMENSION, DIMENSION)))
    # Variances over four decades, about as features of Inception have them.
    mix = np.logspace(0, -2, DIMENSION)[:, None] * rotation.T
    first, second = (
        moments_of((source.normal(size=(3 * DIMENSION, DIMENSION)) @ mix).astype(np.float32))
        for _ in range(2)
    )

    def sqrtm() -> None:
        clean_fid.frechet_distance(first.mean, first.covariance, second.mean, second.covariance)

    def ours() -> None:
        frechet_distance(first, second)

    compare("Frechet, D=2048, against scipy sqrtm (clean-fid)", 5.0, sqrtm, ours, 2)
    compare("Frechet, D=2048, against eigvals", 2.0, lambda: by_eigvals(first, second), ours, 4)


def by_eigvals(first: Moments, second: Moments) -> float:
    """Return the distance as torch-fidelity finds it."""
    return frechet_distance(first, second, "eigvals")


def bench_resize(_weights: Path, _place: Path) -> None:
    """Resizing a batch to 299 px."""
    for side in (32, 256):
        source = torch.Generator().manual_seed(0)
        images = torch.randint(
            0, 256, (RESIZED_IMAGES, 3, side, side), dtype=torch.uint8, generator=source
        )
        arrays = [image.permute(1, 2, 0).numpy() for image in images]
        resizer = make_resizer("PIL", False, "bicubic", (299, 299))  # noqa: FBT003  # clean-fid's order

        def pillow(arrays: Any = arrays, resizer: Any = resizer) -> None:
            for array in arrays:
                resizer(array)

        def tensorflow(images: torch.Tensor = images) -> None:
            interpolate_bilinear_2d_like_tensorflow1x(
                images.float(), size=(299, 299), align_corners=False
            )

        def clean(images: torch.Tensor = images) -> None:
            pil_bicubic(images, 299)

        def tf1(images: torch.Tensor = images) -> None:
            tf1_bilinear(images, 299)

        compare(f"clean resize, {side} px, against Pillow (clean-fid)", 2.0, pillow, clean, 10)
        goal = 5.0 if side == SIDE else 1.0
        compare(f"TF1 resize, {side} px, against torch-fidelity", goal, tensorflow, tf1, 10)


BENCHES: dict[str, Callable[[Path, Path], None]] = {
    "resize": bench_resize,
    "frechet": bench_frechet,
    "pass": bench_pass,
    "metrics": bench_metrics,
}


def chosen(names: list[str]) -> Iterator[Callable[[Path, Path], None]]:
    """Yield the benches of these names, or all."""
    for name in names or BENCHES:
        if name not in BENCHES:
            sys.exit(f"{name}: expected {', '.join(BENCHES)}")
        yield BENCHES[name]


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    os.environ["TQDM_DISABLE"] = "1"
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads; peer / ours, higher is better"
    )
    with tempfile.TemporaryDirectory() as made:
        file = Path(made) / "inception.pth"
        random_inception(file)
        for bench in list(chosen(sys.argv[1:])):
            bench(file, Path(made))
