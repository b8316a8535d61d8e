from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from making import a_record
from PIL import Image

from sfbench.store.runs import Store
from sfbench.values.records import Reading

Command = Callable[..., subprocess.CompletedProcess[str]]
FAULTS = str(Path(__file__).with_name("misbehaving.py"))
SHAPES = ("--images", "shapes", "--reference", "shapes", "--res", "32")


def folder(place: Path, count: int, seed: int) -> Path:
    place.mkdir()
    source = np.random.default_rng(seed)
    for index in range(count):
        base = source.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(base).resize((24, 24), Image.Resampling.BILINEAR).save(
            place / f"{index:03d}.png"
        )
    return place


def test_quality_prints_every_metric_with_intervals_in_80_columns(
    sfbench: Command, tmp_path: Path
) -> None:
    folder(tmp_path / "made", 60, 0), folder(tmp_path / "real", 80, 1)
    (tmp_path / "made" / "010.png").write_bytes(b"cut")
    (tmp_path / "real" / "readme.txt").write_text("x")
    done = sfbench("quality", "--images", "made", "--reference", "real", "--neighbors", "n.png")
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    for name in ("fd", "kd", "kd_whole", "class_score", "precision", "recall", "vendi", "copies"):
        assert f"{name}[cifar-cnn7]" in done.stdout
    assert "59 generated images against 80 real images of real" in done.stdout
    assert "! images: 1 could not be read and were skipped" in done.stdout
    assert "made: 010.png cannot be read as an image (not an image in a known format" in done.stderr
    assert "note: --reference: 1 files are not images: readme.txt" in done.stderr
    assert " fid" not in done.stdout
    with Image.open(tmp_path / "n.png") as picture:
        assert picture.size == (6 * 68, 12 * 68)


def test_all_protocols_say_what_is_missing_offline(sfbench: Command, tmp_path: Path) -> None:
    folder(tmp_path / "made", 30, 0), folder(tmp_path / "real", 40, 1)
    asked = ("quality", "--images", "made", "--reference", "real", "--protocol", "all", "--json")
    done = sfbench(*asked)
    assert done.returncode == 0, done.stderr
    readings = {reading["metric"]: reading for reading in json.loads(done.stdout)}
    assert readings["fd[cifar-cnn7]"]["value"] > 0
    assert "no weights at" in readings["fid[clean-fid-0.1]"]["reason"]
    assert "no weights at" in readings["cmmd"]["reason"]
    there = json.loads(sfbench(*asked, "--extractor", "cifar-cnn7").stdout)
    by_name = {reading["metric"]: reading for reading in there}
    assert (
        by_name["fd[cifar-cnn7, stylegan2-ada]"]["value"] < by_name["fd[cifar-cnn7, adm]"]["value"]
    )
    assert by_name["precision[cifar-cnn7, stylegan2-ada-pr]"]["how"]["k"] == 3
    assert "vgg16: no weights at" in readings["precision[vgg16, stylegan2-ada-pr]"]["reason"]


def test_explain_names_the_convention_that_matters(sfbench: Command, tmp_path: Path) -> None:
    for name, seed in (("made", 0), ("real", 1)):
        place = folder(tmp_path / name, 40, seed)
        for file in place.iterdir():
            with Image.open(file) as image:
                image.resize((48, 48), Image.Resampling.NEAREST).save(file)
    asked = ("explain", "made", "real", "--protocols", "clean-fid-0.1", "adm")
    done = sfbench(*asked, "--extractor", "cifar-cnn7")
    assert done.returncode == 0, done.stderr
    assert "pil-bicubic -> tf1-bilinear" in " ".join(done.stdout.split())
    steps = json.loads(sfbench(*asked, "--extractor", "cifar-cnn7", "--json").stdout)
    changes = {step["factor"]: abs(step["change"]) for step in steps}
    assert max(changes, key=lambda factor: changes[factor]) == "resize"
    missing = sfbench(*asked)
    assert missing.returncode == 2
    assert "inception-v3: no weights" in missing.stderr


def test_statistics_are_written_listed_and_used(sfbench: Command, tmp_path: Path) -> None:
    folder(tmp_path / "made", 30, 0), folder(tmp_path / "real", 40, 1)
    done = sfbench("data", "stats", "real", "--out", "real.npz")
    assert done.returncode == 0, done.stderr
    assert "40 images of real: cifar-cnn7, 256 features" in done.stdout
    with np.load(tmp_path / "real.npz") as archive:
        assert archive["mu"].shape == (256,)
    asked = ("quality", "--images", "made", "--json", "--reference")
    by_file, by_images = (
        json.loads(sfbench(*asked, reference).stdout)[0] for reference in ("real.npz", "real")
    )
    assert by_file["value"] == pytest.approx(by_images["value"], rel=1e-9)
    assert by_file["how"]["reference"]["name"] == "real"
    assert "2 sets of features" in sfbench("data", "stats").stdout
    assert "2 sets of features removed" in sfbench("data", "stats", "--clear").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--reference", "shapes", "--res", "32"), "give --images FILE or FOLDER, or --model NAME"),
        (
            ("--images", "nowhere", "--reference", "shapes", "--res", "32"),
            "--images nowhere: not a file",
        ),
        (
            ("--images", "shapes", "--reference", "shapes"),
            "its images can have any size; choose one with --res",
        ),
        ((*SHAPES, "--protocol", "clean"), "--protocol clean: expected all, or any of sfbench"),
        ((*SHAPES, "--extractor", "vgg"), "--extractor vgg: offered by no plugin"),
        ((*SHAPES, "--neighbors", "x.jpg"), "file name that ends in .png"),
        ((*SHAPES, "--extractor", "inception-v3"), "extractor inception-v3: no weights at"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    arguments: tuple[str, ...], message: str, sfbench: Command
) -> None:
    done = sfbench("quality", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_model_is_judged_and_two_processes_give_the_same_bits_as_one(
    sfbench: Command, tmp_path: Path
) -> None:
    model = ("quality", "--plugin", FAULTS, "--model", "fault-none", "--res", "16")
    asked = (*model, "--samples", "1100", "--reference", "shapes", "--threads", "1", "--json")
    one = sfbench(*asked)
    assert one.returncode == 0, one.stderr
    together = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
            "-m", "sfbench", *asked,
        ],
        cwd=tmp_path,
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path / "other")},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert together.returncode == 0, together.stderr
    assert json.loads(together.stdout) == json.loads(one.stdout)


def started(tmp_path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "sfbench", "quality", *SHAPES, "--samples", "1500", "--json"],
        cwd=tmp_path,
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs ignore interrupts; this one must hear them.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_evaluation_goes_on_after_its_last_part(
    blow: signal.Signals, sfbench: Command, tmp_path: Path
) -> None:
    child = started(tmp_path)
    features = tmp_path / "cache" / "sfbench" / "features"
    deadline = time.monotonic() + 120
    while not list(features.glob("*/000000.npz")) and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(blow)
    _, errors = child.communicate(timeout=60)
    if blow == signal.SIGINT:
        assert child.returncode == 130
        assert "interrupted: finished parts are saved" in errors
    (first,) = features.glob("*/000000.npz")
    before = first.stat().st_mtime_ns
    done = sfbench("quality", *SHAPES, "--samples", "1500", "--json")
    assert done.returncode == 0, done.stderr
    assert first.stat().st_mtime_ns == before
    assert json.loads(done.stdout)[0]["how"]["generated"] == 1500


def test_without_a_cache_that_can_be_written_numbers_are_made_and_it_is_said(
    sfbench: Command, tmp_path: Path
) -> None:
    folder(tmp_path / "made", 12, 0), folder(tmp_path / "real", 12, 1)
    (tmp_path / "file").write_text("in the way")
    done = sfbench(
        "quality",
        "--images",
        "made",
        "--reference",
        "real",
        "--json",
        XDG_CACHE_HOME=str(tmp_path / "file"),
    )
    assert done.returncode == 0, done.stderr
    assert "cannot be written to (Not a directory)" in done.stderr
    assert "set XDG_CACHE_HOME" in done.stderr
    assert {r["metric"] for r in json.loads(done.stdout)} >= {"fd[cifar-cnn7]"}


def test_a_terminal_without_unicode_gets_escapes(sfbench_process: Command, tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    store.add(a_record([Reading(metric="throughput.core", value=1.0, low=0.9, high=1.1)]))
    done = sfbench_process("report", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "\\xb1" in done.stdout
