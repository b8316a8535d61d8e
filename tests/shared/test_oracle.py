"""Comparisons with reference numbers that are not part of a clone; skipped where they are absent."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reference_models import checkpoints, snapshots
from reference_models.gansformer import Gansformer
from reference_models.gansformer_config import GansformerConfig
from sfbench.quality.frechet import frechet_distance
from sfbench.quality.inception_score import inception_score
from sfbench.quality.kernel import kernel_distance
from sfbench.quality.statistics import FeatureStatistics

SHARED = Path(__file__).parents[3] / "shared"
ORACLE = SHARED / "oracle"
pytestmark = pytest.mark.skipif(
    not ORACLE.is_dir(), reason="the folder shared/ with reference numbers is not beside this clone"
)
Command = Callable[..., subprocess.CompletedProcess[str]]
MODELS = sorted(path.name for path in ORACLE.glob("models/*.npz"))
SNAPSHOTS = sorted(path.name for path in ORACLE.glob("snapshots/*.pkl"))
METRICS = ORACLE / "metrics" / "public.npz"
CASES = [
    "a_equal",
    "b_unequal",
    "c_rank_deficient",
    "d_identical",
    "e_ties_duplicates",
    "f_large_offset",
]
CASES += ["g_d2048_small_n", "h_collapsed"]
VERIFY = Path(__file__).with_name("verify_models.py")


def test_every_model_file_verifies() -> None:
    files = [str(ORACLE / "models" / name) for name in MODELS]
    done = subprocess.run(
        [sys.executable, str(VERIFY), *files], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(MODELS)
    assert [line for line in lines if ": ok" not in line] == []


@pytest.mark.parametrize("damage", ["sd/synthesis.b8_0.pos_embedding", "out/img"])
def test_a_damaged_file_fails(damage: str, tmp_path: Path) -> None:
    with np.load(ORACLE / "models" / "sf_a1_full32_head1.npz") as archive:
        arrays = {key: archive[key] for key in archive.files}
    arrays[damage] = arrays[damage] * 1.0001
    np.savez(tmp_path / "bad.npz", **arrays)
    command = [sys.executable, str(VERIFY), str(tmp_path / "bad.npz")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "FAILED" in done.stdout


def expected(name: str) -> dict[str, Any]:
    stem = name.removesuffix(".pkl").removesuffix("_proto4")
    with np.load(ORACLE / "snapshots" / f"{stem}.npz") as archive:
        return {key: archive[key] for key in archive.files}


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_a_snapshot_loads_bit_equal_without_running_and_draws_its_image(name: str) -> None:
    path, arrays = ORACLE / "snapshots" / name, expected(name)
    for network in ("G_ema", "G", "D"):
        wanted = {
            k.removeprefix(f"{network}/"): v
            for k, v in arrays.items()
            if k.startswith(f"{network}/")
        }
        if wanted:
            found = snapshots.read_snapshot(path, network).tensors
            assert found.keys() == wanted.keys()
            assert all(np.array_equal(found[key].numpy(), wanted[key]) for key in wanted)
    checkpoint = checkpoints.read_checkpoint(path)
    assert checkpoint.config is not None
    model, _ = checkpoints.load_generator(checkpoint.config, path, seed=0)
    with torch.inference_mode():
        image = model.eval()(torch.from_numpy(arrays["in/z"]), noise="none").numpy()
    error = np.abs(image - arrays["out/img"]).max() / np.abs(arrays["out/img"]).max()
    assert error <= 5e-6


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_a_converted_snapshot_gives_the_same_images(
    name: str, sfbench: Command, tmp_path: Path
) -> None:
    source = ORACLE / "snapshots" / name
    done = sfbench("convert", str(source), "out.safetensors")
    assert done.returncode == 0, done.stderr
    config = checkpoints.read_checkpoint(source).config
    assert config is not None
    first, _ = checkpoints.load_generator(config, source, 0)
    second, _ = checkpoints.load_generator(config, tmp_path / "out.safetensors", 0)
    assert all(torch.equal(second.state_dict()[n], t) for n, t in first.state_dict().items())


def test_a_snapshot_is_measured_as_a_model(sfbench: Command) -> None:
    path = str(ORACLE / "snapshots" / "styleformer_tiny_poison.pkl")
    done = sfbench(
        "run", "--model", "styleformer", "--res", "16", "--weights", path, "--measure", "quality", "--samples", "16", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    case = json.loads(done.stdout)[0]["case"]
    assert case["weights"]["kind"] == "file"
    wrong = sfbench("run", "--model", "stylegan2", "--res", "16", "--weights", path, "--json")
    assert "holds a styleformer model" in json.loads(wrong.stdout)[0]["reason"]


def arrays_of(case: str) -> dict[str, Any]:
    with np.load(METRICS) as archive:
        return {k.partition("/")[2]: archive[k] for k in archive.files if k.startswith(f"{case}/")}


def statistics(rows: Any) -> FeatureStatistics:
    return FeatureStatistics.of(range(len(rows)), rows)


@pytest.mark.parametrize("case", CASES)
def test_the_frechet_distance_equals_the_exact_one_and_the_peers(case: str) -> None:
    arrays = arrays_of(case)
    found = frechet_distance(
        statistics(arrays["gen"]).moments(), statistics(arrays["real"]).moments()
    )
    exact = float(arrays["fid.exact_svd_f64"])
    assert found == pytest.approx(exact, rel=1e-9, abs=1e-9)
    bounds = {"abs": 5e-5} if case == "f_large_offset" else {"rel": 1e-6, "abs": 1e-6}
    for peer in ("fid.torch_fidelity", "fid.cleanfid", "fid.pytorch_fid"):
        if case not in {"c_rank_deficient", "d_identical", "g_d2048_small_n", "h_collapsed"}:
            assert found == pytest.approx(float(arrays[peer]), **bounds), peer


@pytest.mark.parametrize("case", ["a_equal", "b_unequal", "h_collapsed"])
def test_the_kernel_distance_replays_torch_fidelity(case: str) -> None:
    arrays = arrays_of(case)
    found = kernel_distance(arrays["gen"], arrays["real"], subsets=20, subset_size=200)
    mean, deviation = arrays["kid.torch_fidelity_f64.poly"]
    assert found.mean == pytest.approx(mean, abs=1e-12)
    assert found.deviation == pytest.approx(deviation, abs=1e-12)


@pytest.mark.parametrize("case", ["j_logits", "k_logits_class_sorted", "l_logits_extreme"])
@pytest.mark.parametrize("splits", [1, 10])
def test_the_inception_score_equals_torch_fidelity(case: str, splits: int) -> None:
    arrays = arrays_of(case)
    found = inception_score(arrays["logits"], splits=splits)
    mean, deviation = arrays[f"isc.torch_fidelity.splits{splits}.shuffle"]
    assert found.mean == pytest.approx(mean, rel=1e-10)
    assert found.deviation == pytest.approx(deviation, rel=1e-9, abs=1e-12)


def test_real_images_from_a_stylegan_zip_are_read_with_their_labels(sfbench: Command) -> None:
    archive = SHARED / "data" / "cifar10" / "cifar10-test-jpeg.zip"
    done = sfbench(
        "run", "--model", "styleformer", "--res", "32", "--data", str(archive), "--samples", "64",
        "--measure", "quality", "--option", "preset=readme-example", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (record,) = json.loads(done.stdout)
    how = next(r["how"] for r in record["readings"] if r["metric"].startswith("fd["))
    assert how["reference"]["name"] == "cifar10-test-jpeg.zip"
    assert len(how["reference"]["sha256"]) == 64


def test_a_gansformer_snapshot_loads_bit_equal_without_running_and_draws_its_image() -> None:
    path = ORACLE / "baselines" / "gansformer_tiny_poison.pkl"
    with np.load(path.with_suffix(".npz")) as archive:
        arrays = {key: archive[key] for key in archive.files}
    for network in ("Gs", "D"):
        wanted = {
            key.removeprefix(f"{network}/"): value
            for key, value in arrays.items()
            if key.startswith(f"{network}/")
        }
        found = snapshots.read_snapshot(path, network).tensors
        assert wanted
        assert found.keys() == wanted.keys()
        assert all(np.array_equal(found[key].numpy(), wanted[key]) for key in wanted)
    checkpoint = checkpoints.read_checkpoint(path)
    assert isinstance(checkpoint.config, GansformerConfig)
    model = Gansformer(checkpoint.config)
    model.load_state_dict(checkpoint.tensors)
    with torch.inference_mode():
        image = model.eval()(torch.from_numpy(arrays["in/z"])).numpy()
    expected = arrays["out/img"]
    assert np.abs(image - expected).max() <= 5e-6 * np.abs(expected).max()
    again = checkpoints.config_from_json(checkpoints.config_to_json(checkpoint.config))
    assert again == checkpoint.config


BASELINES = sorted(str(path) for path in ORACLE.glob("baselines/*.npz"))


def test_every_baseline_file_verifies() -> None:
    done = subprocess.run(
        [sys.executable, str(VERIFY), *BASELINES], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": ok") == len(BASELINES) > 20
