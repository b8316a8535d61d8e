from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import lmdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from sfbench.data.prepared import PreparedImages

Command = Callable[..., subprocess.CompletedProcess[str]]
SOURCE = np.random.default_rng(0)


def noise(*shape: int) -> np.ndarray:
    return SOURCE.integers(0, 256, shape, dtype=np.uint8)


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def tar(path: Path, members: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def cifar(folder: Path) -> tuple[Path, np.ndarray]:
    pixels = noise(4, 3, 32, 32)
    part = pickle.dumps({b"data": pixels.reshape(4, -1), b"labels": [0, 1, 2, 0]}, protocol=2)
    return tar(folder / "cifar.tar.gz", {"cifar-10-batches-py/data_batch_1": part}), pixels


def stl10(folder: Path) -> tuple[Path, np.ndarray]:
    pixels = noise(4, 3, 96, 96)
    (folder / "stl").mkdir()
    pixels.transpose(0, 1, 3, 2).tofile(folder / "stl" / "train_X.bin")
    np.array([1, 2, 3, 1], np.uint8).tofile(folder / "stl" / "train_y.bin")
    return folder / "stl", pixels


def shard(folder: Path) -> tuple[Path, np.ndarray]:
    pixels = noise(4, 3, 32, 32)
    members = {}
    for index, label in enumerate((0, 1, 2, 0)):
        members[f"{index:04d}.cls"] = str(label).encode()
        members[f"{index:04d}.png"] = png(pixels[index].transpose(1, 2, 0))
    return tar(folder / "shard.tar", members), pixels


def arrays(folder: Path) -> tuple[Path, np.ndarray]:
    pixels = noise(4, 3, 32, 32)
    np.savez(folder / "a.npz", arr_0=pixels.transpose(0, 2, 3, 1), arr_1=np.array([0, 1, 2, 0]))
    return folder / "a.npz", pixels


def parquet(folder: Path) -> tuple[Path, np.ndarray]:
    pixels = noise(4, 3, 32, 32)
    images = [{"bytes": png(p.transpose(1, 2, 0)), "path": None} for p in pixels]
    pq.write_table(pa.table({"image": images, "label": [0, 1, 2, 0]}), folder / "train.parquet")
    return folder / "train.parquet", pixels


@pytest.mark.parametrize("make", [cifar, stl10, shard, arrays, parquet])
def test_every_container_gives_its_pixels_and_classes(
    make: Callable[[Path], tuple[Path, np.ndarray]], sfbench: Command, tmp_path: Path
) -> None:
    source, pixels = make(tmp_path)
    side = str(pixels.shape[2])
    done = sfbench("data", "build", str(source), "--out", "made", "--res", side, "--json")
    assert done.returncode == 0, done.stderr
    made = PreparedImages(tmp_path / "made")
    assert np.array_equal(made.pixels, pixels)
    assert made.labels.tolist() == [0, 1, 2, 0]
    again = sfbench("data", "build", str(source), "--out", "made", "--res", side)
    assert again.returncode == 2
    assert "exists already" in again.stderr


def test_a_folder_of_lsun_gives_its_images_and_names_a_bad_record(
    sfbench: Command, tmp_path: Path
) -> None:
    pixels = noise(3, 24, 32, 3)
    with lmdb.open(str(tmp_path / "church_lmdb")) as database, database.begin(write=True) as into:
        for number, one in enumerate(pixels):
            into.put(f"{number:08x}".encode(), png(one))
        into.put(b"f0000000", b"no image")
    build = ("data", "build", "church_lmdb", "--out", "made", "--res", "24", "--json")
    done = sfbench(*build, "--max-bad", "1")
    assert done.returncode == 0, done.stderr
    assert [one["name"] for one in json.loads(done.stdout)["rejected"]] == ["f0000000"]
    made = PreparedImages(tmp_path / "made")
    assert np.array_equal(made.pixels, pixels[:, :, 4:28].transpose(0, 3, 1, 2))


def test_bad_images_are_listed_and_too_many_leave_nothing(sfbench: Command, tmp_path: Path) -> None:
    for name in ("x", "y"):
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / "good.png").write_bytes(png(noise(20, 20, 3)))
    whole = png(noise(20, 20, 3))
    (tmp_path / "in" / "x" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "in" / "y" / "alpha.png").write_bytes(png(noise(20, 20, 4)))
    build = ("data", "build", "in", "--out", "made", "--res", "16", "--json")
    refused = sfbench(*build, "--max-bad", "1")
    assert refused.returncode == 2
    assert "2 images cannot be used, 1 are allowed" in refused.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]
    meta = json.loads(sfbench(*build, "--max-bad", "2").stdout)
    assert {one["name"] for one in meta["rejected"]} == {"x/cut.png", "y/alpha.png"}
    assert meta["classes"] == 2
    stored = tmp_path / "made" / "images.npy"
    stored.write_bytes(stored.read_bytes()[:-1] + b"\x00")
    assert sfbench("data", "info", "made").returncode == 1


def test_nothing_in_a_pickle_is_executed(sfbench: Command, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
            return os.system, (f"touch {tmp_path}/executed",)

    tar(tmp_path / "evil.tar", {"data_batch_1": pickle.dumps({b"data": Evil()})})
    done = sfbench("data", "build", "evil.tar", "--out", "made", "--res", "32")
    assert done.returncode == 2
    assert "it needs posix.system" in done.stderr
    assert not (tmp_path / "executed").exists()
