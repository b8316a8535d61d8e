from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import resource
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import lmdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from sfbench.api.errors import DataError
from sfbench.data.containers import kinds, open_container
from sfbench.data.prepared import PreparedImages
from sfbench.data.sources import locate, open_dataset
from sfbench.values.sizes import square

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


def stl10_archive(folder: Path) -> tuple[Path, np.ndarray]:
    unpacked, pixels = stl10(folder)
    members = {f"stl10_binary/{file.name}": file.read_bytes() for file in unpacked.iterdir()}
    return tar(folder / "stl10_binary.tar.gz", members), pixels


def cifar_folder(folder: Path) -> tuple[Path, np.ndarray]:
    packed, pixels = cifar(folder)
    with tarfile.open(packed) as archive:
        archive.extractall(folder, filter="data")
    return folder / "cifar-10-batches-py", pixels


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


def shards(folder: Path) -> tuple[Path, np.ndarray]:
    """Two shards, the second compressed, in which the class lies before and after the image."""
    pixels = noise(4, 3, 32, 32)
    images = [png(one.transpose(1, 2, 0)) for one in pixels]
    (folder / "shards").mkdir()
    first = {"a/0.png": images[0], "a/0.cls": b"0", "a/1.cls": b"1", "a/1.png": images[1]}
    second = {"a/2.cls": b"2\n", "a/2.png": images[2], "a/3.png": images[3], "a/3.cls": b"0"}
    tar(folder / "shards" / "00.tar", first)
    packed = tar(folder / "01.tar.gz", {**second, "note.txt": b"no image"})
    packed.rename(folder / "shards" / "01.tar")
    return folder / "shards", pixels


def parquet_folder(folder: Path) -> tuple[Path, np.ndarray]:
    """Two files, the first of two row groups."""
    pixels = noise(4, 3, 32, 32)
    rows = [{"bytes": png(p.transpose(1, 2, 0)), "path": None} for p in pixels]
    (folder / "set").mkdir()
    for name, part in (("0", slice(0, 3)), ("1", slice(3, 4))):
        table = pa.table({"img": rows[part], "label": [0, 1, 2, 0][part]})
        pq.write_table(table, folder / "set" / f"{name}.parquet", row_group_size=2)
    return folder / "set", pixels


def image_zip(folder: Path) -> tuple[Path, np.ndarray]:
    pixels = noise(4, 3, 32, 32)
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for index, one in enumerate(pixels):
            archive.writestr(f"{index}.png", png(one.transpose(1, 2, 0)))
        labels = [[f"{index}.png", label] for index, label in enumerate((0, 1, 2, 0))]
        archive.writestr("dataset.json", json.dumps({"labels": labels}))
    return folder / "images.zip", pixels


def lsun(folder: Path) -> tuple[Path, np.ndarray]:
    pixels = noise(4, 3, 32, 32)
    with lmdb.open(str(folder / "church_lmdb")) as database, database.begin(write=True) as into:
        for number, one in enumerate(pixels):
            into.put(f"{number:08x}".encode(), png(one.transpose(1, 2, 0)))
    return folder / "church_lmdb", pixels


CONTAINERS = {
    cifar: "cifar",
    cifar_folder: "cifar",
    stl10: "stl10",
    stl10_archive: "stl10",
    shard: "tar",
    shards: "tar",
    arrays: "array",
    parquet: "parquet",
    parquet_folder: "parquet",
    image_zip: "files",
    lsun: "lmdb",
}
LABELS = [0, 1, 2, 0]


def test_every_kind_of_container_is_tried() -> None:
    assert set(CONTAINERS.values()) == set(kinds())


@pytest.mark.parametrize("make", CONTAINERS)
def test_every_container_is_compared_with_as_it_is_trained_on(
    make: Callable[[Path], tuple[Path, np.ndarray]], tmp_path: Path
) -> None:
    path, pixels = make(tmp_path)
    source = locate(str(path))
    assert source.kind == CONTAINERS[make]
    dataset = open_dataset(source, square(pixels.shape[2]))
    found = [dataset.read(index).pixels.numpy() for index in (3, 0, 2, 1)]
    assert np.array_equal(found, pixels[[3, 0, 2, 1]])
    assert dataset.labels([1, 3]) == (None if make is lsun else [1, 0])
    assert open_dataset(source, square(16)).read(0).pixels.shape == (3, 16, 16)
    assert locate(str(path)).sha256 == source.sha256


@pytest.mark.parametrize("make", [cifar, shards, parquet_folder, lsun])
def test_containers_are_judged_against_by_the_commands(
    make: Callable[[Path], tuple[Path, np.ndarray]], sfbench: Command, tmp_path: Path
) -> None:
    path, _ = make(tmp_path)
    done = sfbench("quality", "--images", path, "--reference", path, "--json")
    assert done.returncode == 0, done.stderr
    run = ("run", "--model", "styleformer", "--res", "32", "--measure", "quality", "--samples", "4")
    small = ("--option", "widths=8,8,8", "--option", "layers=1,1,1", "--data", path)
    done = sfbench(*run, *small, "--json")
    assert done.returncode == 0, done.stderr
    (record,) = json.loads(done.stdout)
    assert record["case"]["data"]["kind"] == CONTAINERS[make]
    values = {r["metric"]: r["value"] for r in record["readings"]}
    assert values["fd[cifar-cnn7]"] is not None


def read_all(path: Path) -> None:
    dataset = open_dataset(locate(str(path)), None)
    for index in range(len(dataset)):
        dataset.read(index)


@pytest.mark.parametrize("make", CONTAINERS)
def test_a_cut_container_is_refused_in_one_line_or_names_the_image(
    make: Callable[[Path], tuple[Path, np.ndarray]], tmp_path: Path
) -> None:
    path, _ = make(tmp_path)
    largest = max(
        (p for p in [path, *path.rglob("*")] if p.is_file()), key=lambda p: p.stat().st_size
    )
    largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 3])
    if make is lsun:
        pytest.skip("a cut LMDB can end the process (docs/files-of-strangers.md)")
    with pytest.raises(DataError) as caught:
        read_all(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("make", [one for one in CONTAINERS if one is not lsun])
def test_every_container_gives_its_pixels_and_classes(
    make: Callable[[Path], tuple[Path, np.ndarray]], sfbench: Command, tmp_path: Path
) -> None:
    source, pixels = make(tmp_path)
    side = str(pixels.shape[2])
    done = sfbench("data", "build", str(source), "--out", "made", "--res", side, "--json")
    assert done.returncode == 0, done.stderr
    made = PreparedImages(tmp_path / "made")
    assert np.array_equal(made.pixels, pixels)
    assert made.labels.tolist() == LABELS
    again = sfbench("data", "build", str(source), "--out", "made", "--res", side)
    assert again.returncode == 2
    assert "already exists" in again.stderr


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
    assert "2 images cannot be used; expected at most 1" in refused.stderr
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


def beside(path: Path) -> dict[str, int]:
    found = open_container(path)[1].beside()
    return {what: one.count for what, one in found.items() if one.count}


def test_cifar_100_is_read_with_its_fine_classes(tmp_path: Path) -> None:
    pixels = noise(3, 3, 32, 32)
    content = {
        b"data": pixels.reshape(3, -1),
        b"fine_labels": [7, 99, 0],
        b"coarse_labels": [1, 2, 3],
    }
    parts = {
        "train": pickle.dumps(content),
        "test": pickle.dumps(content),
        "meta": pickle.dumps({}),
    }
    path = tar(tmp_path / "c.tar.gz", {f"cifar-100-python/{k}": v for k, v in parts.items()})
    with tarfile.open(path) as archive:
        archive.extractall(tmp_path, filter="data")
    for place in (path, tmp_path / "cifar-100-python"):
        kind, container = open_container(place)
        assert (kind, len(container), container.labels()) == ("cifar", 3, [7, 99, 0])
        assert np.array_equal(container.item(1).content, pixels[1].transpose(1, 2, 0))


def test_nothing_in_a_tar_is_dropped_without_a_word(tmp_path: Path) -> None:
    one, two = png(noise(8, 8, 3)), png(noise(8, 8, 3))
    path = tmp_path / "odd.tar"
    with tarfile.open(path, "w") as archive:
        for name, content in (
            ("a/0.png", one), ("a/0.jpg", two), ("a/1.png", one), ("a/1.png", two),
            ("a/2.png", one), ("a/2.cls", b"cat"), ("a/.3.png", one), ("a/note.txt", b"x"),
        ):  # fmt: skip
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("a/4.png")
        link.type, link.linkname = tarfile.LNKTYPE, "a/2.png"
        archive.addfile(link)
    path.write_bytes(path.read_bytes() * 2)
    container = open_container(path)[1]
    assert len(container) == 5
    assert beside(path) == {
        "images are links or sparse files and are left out": 1,
        "hidden files are left out": 1,
        "files are not images": 1,
        "labels are no numbers from 0: no classes are used": 1,
        "archives go on after their end, which is not read": 1,
    }


def test_shards_of_every_compression_and_in_subfolders_are_read(tmp_path: Path) -> None:
    whole = png(noise(8, 8, 3))
    for number, name in enumerate(("a.tar", "b.tar.gz", "data/c.tar", "data/d.tgz")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        packed = tar(tmp_path / "x.tar", {f"{number}.png": whole})
        content = packed.read_bytes()
        packed.unlink()
        (tmp_path / name).write_bytes(gzip.compress(content) if "gz" in name else content)
    (tmp_path / "0.png").write_bytes(whole)
    kind, container = open_container(tmp_path)
    assert (kind, len(container)) == ("tar", 4)
    assert [container.item(i).name for i in (3, 0, 2)] == ["3.png", "0.png", "2.png"]
    assert beside(tmp_path) == {"files beside the tar shards are not used": 1}


def test_hundreds_of_shards_need_no_hundreds_of_open_files(tmp_path: Path) -> None:
    whole = png(noise(8, 8, 3))
    for number in range(60):
        tar(tmp_path / f"{number:03}.tar", {f"{number}.png": whole})
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    there = len([*Path("/proc/self/fd").iterdir()])
    resource.setrlimit(resource.RLIMIT_NOFILE, (there + 20, hard))
    try:
        container = open_container(tmp_path)[1]
        assert [container.item(index).problem for index in range(60)] == [None] * 60
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_repository_of_parquet_files_is_read(tmp_path: Path) -> None:
    rows = [{"bytes": png(noise(8, 8, 3)), "path": None}] * 3
    (tmp_path / "data").mkdir()
    table = pa.table({"image": rows, "label": pa.array([0, None, 1])})
    pq.write_table(table, tmp_path / "data" / "train-0.parquet")
    (tmp_path / "README.md").write_text("x")
    kind, container = open_container(tmp_path)
    assert (kind, len(container), container.labels()) == ("parquet", 3, [0, None, 1])
    assert beside(tmp_path) == {
        "files beside the parquet are not used": 1,
        "images have no class: no classes are used": 1,
    }
    words = pa.table({"image": rows, "label": ["cat", "dog", "cat"]})
    pq.write_table(words, tmp_path / "words.parquet")
    assert beside(tmp_path / "words.parquet") == {
        "labels are no numbers from 0: no classes are used": 3
    }


@pytest.mark.parametrize("label", [99999999999999999999, -1, 10**6, 1.5])
def test_labels_that_are_no_classes_are_told_and_not_used(label: float, tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", {"0.png": png(noise(8, 8, 3)), "0.cls": str(label).encode()})
    assert beside(path) == {"labels are no numbers from 0: no classes are used": 1}
    assert open_container(path)[1].labels() == [None]
    kind = np.uint64 if label > 2**63 else None
    value = np.array([min(label, 2**64 - 1)], dtype=kind)
    np.savez(tmp_path / "a.npz", arr_0=noise(1, 8, 8, 3), arr_1=value)
    assert beside(tmp_path / "a.npz") == {"labels are no numbers from 0: no classes are used": 1}


def test_odd_arrays_and_misleading_files(tmp_path: Path) -> None:
    gray = noise(2, 8, 8)
    np.save(tmp_path / "gray.npy", gray)
    assert open_container(tmp_path / "gray.npy")[1].item(1).content.shape == (8, 8, 1)
    np.save(tmp_path / "none.npy", np.zeros((3, 0, 0, 3), np.uint8))
    with pytest.raises(DataError, match="images of no pixels"):
        open_container(tmp_path / "none.npy")
    np.savez(tmp_path / "in.npz", arr_0=noise(1, 8, 8, 3))
    members = {"0.png": png(noise(8, 8, 3)), "z.npz": (tmp_path / "in.npz").read_bytes()}
    assert open_container(tar(tmp_path / "last.tar", members))[0] == "tar"


def test_folders_inside_a_tar_are_classes_as_on_disk(tmp_path: Path) -> None:
    members = {
        f"{name}/{index}.png": png(noise(8, 8, 3)) for name in ("cats", "dogs") for index in (0, 1)
    }
    for prefix in ("", "./"):
        path = tar(tmp_path / "a.tar", {prefix + name: one for name, one in members.items()})
        assert open_container(path)[1].labels() == [0, 0, 1, 1]


def test_what_needs_no_building_is_told(sfbench: Command, tmp_path: Path) -> None:
    path, _ = image_zip(tmp_path)
    assert sfbench("data", "build", path, "--out", "made", "--res", "32").returncode == 0
    done = sfbench("data", "build", "made", "--out", "again", "--res", "32")
    assert "made: is prepared already; give it to --data as it is" in done.stderr
