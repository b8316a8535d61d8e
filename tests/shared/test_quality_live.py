"""End to end beside torch-fidelity and clean-fid: the same CIFAR-10 images, the same random weights."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from cleanfid import fid as clean_fid
from PIL import Image
from torch_fidelity import calculate_metrics

from sfbench.api.spec import ExtractorRequest
from sfbench.data.sources import locate, open_dataset
from sfbench.quality.comparison import Comparison
from sfbench.quality.explain import Explanation
from sfbench.quality.feature_store import FeatureStore
from sfbench.quality.features import FeaturePass
from sfbench.quality.image_sets import RealImages
from sfbench.quality.inception import InceptionExtractor
from sfbench.quality.protocols import read_protocol
from sfbench.store.content import file_sha256
from sfbench.values.records import Reading

SHARED = Path(__file__).parents[3] / "shared"
CIFAR = SHARED / "data" / "cifar10"
pytestmark = pytest.mark.skipif(
    not CIFAR.is_dir(), reason="the folder shared/ with CIFAR-10 images is not beside this clone"
)
COUNT = 40
CLOSE = 1e-3
ROUNDING = 1e-4
"""How far a peer's own linear algebra is off with 40 images of 2048 features, relative."""
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def pixels() -> dict[str, torch.Tensor]:
    found = {}
    for name in ("test", "train"):
        dataset = open_dataset(locate(str(CIFAR / f"cifar10-{name}-jpeg.zip")), None)
        found[name] = torch.stack([dataset.read(index).pixels for index in range(COUNT)])
    return found


@pytest.fixture(scope="module")
def folders(
    pixels: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    places = {}
    for name, images in pixels.items():
        places[name] = tmp_path_factory.mktemp(name)
        for index, image in enumerate(images):
            array = image.permute(1, 2, 0).numpy()
            Image.fromarray(array).save(places[name] / f"{index:03d}.png")
    return places


@pytest.fixture(scope="module")
def extractor(inception_weights: Path) -> InceptionExtractor:
    digest = file_sha256(inception_weights)
    request = ExtractorRequest(weights=inception_weights, sha256=digest)
    return InceptionExtractor(request, standard=False)


@pytest.fixture(scope="module")
def comparison(
    folders: dict[str, Path],
    extractor: InceptionExtractor,
    tmp_path_factory: pytest.TempPathFactory,
) -> Comparison:
    store = FeatureStore(tmp_path_factory.mktemp("store"))
    sets = [
        RealImages(dataset=open_dataset(locate(str(place)), None), indices=range(COUNT))
        for place in (folders["test"], folders["train"])
    ]
    return Comparison(
        generated=sets[0],
        reference=sets[1],
        protocols=[read_protocol(name) for name in ("torch-fidelity-0.4", "clean-fid-0.1")],
        open_extractor=lambda _: extractor,
        forward=FeaturePass(progress=lambda *_: None, device="cpu"),
        stores=(store, store),
        extractor=extractor.name,
    )


@pytest.fixture(scope="module")
def readings(comparison: Comparison) -> dict[str, Reading]:
    return {reading.metric: reading for reading in comparison.readings()}


def by_their_algebra(comparison: Comparison, name: str) -> float:
    """Return the distance as `explain` finds it: with the package's own matrix root and mean."""
    protocol = read_protocol(name)
    return Explanation(comparison, protocol, protocol).frechet(protocol)


class Bytes(torch.utils.data.Dataset[torch.Tensor]):
    def __init__(self, images: torch.Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.images[index]


@pytest.mark.filterwarnings("ignore")
def test_fid_and_is_are_those_of_torch_fidelity(
    readings: dict[str, Reading],
    extractor: InceptionExtractor,
    pixels: dict[str, torch.Tensor],
    inception_weights: Path,
    comparison: Comparison,
) -> None:
    expected = calculate_metrics(
        input1=Bytes(pixels["test"]),
        input2=Bytes(pixels["train"]),
        fid=True,
        isc=True,
        cuda=False,
        cache=False,
        verbose=False,
        save_cpu_ram=True,
        feature_extractor_weights_path=str(inception_weights),
    )
    fid = readings[f"fd[{extractor.name}, torch-fidelity-0.4]"].value
    theirs = expected["frechet_inception_distance"]
    assert by_their_algebra(comparison, "torch-fidelity-0.4") == pytest.approx(theirs, abs=CLOSE)
    assert fid == pytest.approx(theirs, rel=ROUNDING)
    score = readings[f"class_score[{extractor.name}, torch-fidelity-0.4]"]
    assert score.value == pytest.approx(expected["inception_score_mean"], abs=CLOSE)
    assert score.how["deviation"] == pytest.approx(expected["inception_score_std"], abs=CLOSE)


@pytest.mark.filterwarnings("ignore")
def test_fid_and_kid_are_those_of_clean_fid(
    readings: dict[str, Reading],
    extractor: InceptionExtractor,
    folders: dict[str, Path],
    comparison: Comparison,
) -> None:
    def features(name: str) -> np.ndarray:
        found: np.ndarray = clean_fid.get_folder_features(
            str(folders[name]),
            model=lambda x: extractor(x).pooled,
            num_workers=0,
            device=torch.device("cpu"),
            mode="clean",
            verbose=False,
        )
        return found

    gen, real = features("test"), features("train")
    fid = readings[f"fd[{extractor.name}, clean-fid-0.1]"].value
    theirs = clean_fid.fid_from_feats(gen, real)
    assert by_their_algebra(comparison, "clean-fid-0.1") == pytest.approx(theirs, abs=CLOSE)
    assert fid == pytest.approx(theirs, rel=ROUNDING)
    # Every subset is the whole of both sets here, in another order each time.
    np.random.seed(0)  # noqa: NPY002  # clean-fid draws from the global source
    kid = readings[f"kd[{extractor.name}, clean-fid-0.1]"].value
    # float32 there, float64 here.
    theirs = clean_fid.kernel_distance(real, gen, num_subsets=2)
    assert kid == pytest.approx(theirs, rel=1e-5)


def test_the_metrics_file_verifies() -> None:
    files = sorted(map(str, (SHARED / "oracle" / "metrics").glob("*.npz")))
    command = [sys.executable, str(Path(__file__).with_name("verify_metrics.py")), *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, "\n".join(
        line for line in done.stdout.splitlines() if "FAILED" in line
    )
    assert done.stdout.count(" ok") > 200


@pytest.mark.parametrize(
    "key", ["a_equal/fid.exact_svd_f64", "j_logits/logits", "32x32/image_uint8"]
)
def test_a_damaged_metrics_file_fails(key: str, tmp_path: Path) -> None:
    name = "resize_public.npz" if "image" in key else "public.npz"
    with np.load(SHARED / "oracle" / "metrics" / name) as archive:
        case = key.partition("/")[0]
        arrays = {k: archive[k] for k in archive.files if k.startswith(case)}
    arrays[key] = (arrays[key] * 1.01).astype(arrays[key].dtype)
    np.savez(tmp_path / "bad.npz", **arrays)
    command = [sys.executable, str(Path(__file__).with_name("verify_metrics.py"))]
    done = subprocess.run(
        [*command, str(tmp_path / "bad.npz")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "FAILED" in done.stdout


def test_fifty_thousand_images_would_stay_under_the_memory_bound(tmp_path: Path) -> None:
    """Of a tenth of them: the features are what grows with the images, and they are added."""
    # Not ru_maxrss: a child starts with its parent's peak there.
    program = (
        "import re, sys\n"
        "from sfbench.cli.main import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert end.code in (0, None), end.code\n"
        "status = open('/proc/self/status').read()\n"
        "print('PEAK', re.search(r'VmHWM:\\s+(\\d+)', status)[1])\n"
    )
    zips = [str(CIFAR / f"cifar10-{name}-jpeg.zip") for name in ("test", "train")]
    arguments = ["quality", "--images", zips[0], "--reference", zips[1], "--samples", "5000"]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments, "--json"],
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    peak = int(done.stdout.rsplit("PEAK", 1)[1]) * 1024
    kept = 50_000 * 256 * 4 * 2
    assert peak + kept < 1.5e9
