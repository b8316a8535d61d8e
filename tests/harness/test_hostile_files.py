"""Files that would run code, crash or take all memory are read as data, or refused in one line."""

from __future__ import annotations

import io
import json
import os
import stat
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from sfbench.api.archives import ArchiveError, open_zip, read_member
from sfbench.api.errors import DataError, WeightsError
from sfbench.api.image_files import ImageFileError, open_image
from sfbench.api.images import ImageCollection
from sfbench.api.tensors import read_tensors
from sfbench.data.array_files import ArrayFileError, map_array, read_arrays
from sfbench.data.containers import open_container

Command = Callable[..., subprocess.CompletedProcess[str]]

ROOT = Path(__file__).parents[2]
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\nshowpage\n"
WATCHED = """
import sys
events = []
watched = ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system", "os.fork")
sys.addaudithook(lambda event, what: events.append((event, what)) if event in watched else None)
from sfbench.cli.main import main
for command in {commands!r}:
    try:
        main(command)
    except SystemExit:
        pass
programs = [str(what[0]) if what else event for event, what in events]
# Listings of plugins are processes of ours; ctypes looks libraries up with the others.
known = {{sys.executable, "/sbin/ldconfig", "/usr/bin/gcc", "/usr/bin/cc", "/usr/bin/ld"}}
print([program for program in programs if program not in known])
"""


def png(folder: Path, name: str, content: bytes | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    if content is None:
        pixels = np.random.default_rng(len(name)).integers(0, 255, (32, 32, 3), np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        content = buffer.getvalue()
    (folder / name).write_bytes(content)
    return folder / name


@pytest.mark.fast
def test_a_postscript_file_is_no_image_whatever_its_name(tmp_path: Path) -> None:
    png(tmp_path / "images", "a.png", POSTSCRIPT)
    with pytest.raises(
        DataError, match=r"a\.png cannot be read as an image \(not an image in a known"
    ):
        ImageCollection(tmp_path / "images").read(0)


def test_no_program_is_started_for_images_bundles_and_pictures(tmp_path: Path) -> None:
    stub = tmp_path / "bin" / "gs"
    stub.parent.mkdir()
    stub.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    stub.chmod(stub.stat().st_mode | stat.S_IEXEC)
    for index in range(4):
        png(tmp_path / "real", f"{index}.png")
    png(tmp_path / "real", "hostile.png", POSTSCRIPT)
    with zipfile.ZipFile(tmp_path / "real.zip", "w") as archive:
        for path in sorted((tmp_path / "real").iterdir()):
            archive.write(path, path.name)
    record = min((ROOT / "results" / "published").glob("*.json")).read_text()
    from sfbench.store import album

    folder = album.place(Path("store"), json.loads(record)["case"]).name
    about = {"subject": album.subject_of(json.loads(record)["case"]), "pictures": {}}
    about["pictures"] = {"samples": {"caption": "x", "how": {}}}
    with zipfile.ZipFile(tmp_path / "bundle.zip", "w") as archive:
        archive.writestr("records/x.json", record)
        archive.writestr(f"pictures/{folder}/about.json", json.dumps(about))
        archive.writestr(f"pictures/{folder}/samples.png", POSTSCRIPT)
    commands: Sequence[Sequence[str]] = [
        ["quality", "--images", "real", "--reference", "real.zip"],
        ["data", "build", "real.zip", "--out", "made", "--res", "32"],
        ["import", "bundle.zip", "--store", "store"],
        ["report", "--store", "store", "--imported", "--html", "page.html"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", WATCHED.format(commands=commands)],
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{stub.parent}:{os.environ['PATH']}", "XDG_CACHE_HOME": "cache"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr
    assert not (tmp_path / "started").exists()
    assert "hostile.png" in done.stderr
    assert "samples is left out (cannot be read)" in (tmp_path / "page.html").read_text()


@pytest.mark.fast
def test_images_are_opened_in_one_place_only() -> None:
    places = [
        path.relative_to(ROOT).as_posix()
        for folder in ("sfbench", "plugins", "reference_models")
        for path in (ROOT / folder).rglob("*.py")
        if "Image.open(" in path.read_text()
    ]
    assert places == ["sfbench/api/image_files.py"]


@pytest.mark.fast
@pytest.mark.parametrize("module", ["pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"])
def test_no_module_of_the_product_unpickles(module: str) -> None:
    for folder in ("sfbench", "plugins", "reference_models"):
        for path in (ROOT / folder).rglob("*.py"):
            lines = [line.strip() for line in path.read_text().splitlines()]
            assert not {f"import {module}", f"from {module} import"} & set(lines), path


def png_header(width: int, height: int) -> bytes:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    import zlib

    return (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    ) + b"\0\0\0\x08IDATabcdefgh"


def webp_canvas(side: int) -> bytes:
    edge = (side - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + edge + edge + b"ANIM" + bytes(20)
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.fast
@pytest.mark.parametrize(
    "content", [png_header(9000, 9000), webp_canvas(9000), webp_canvas(1 << 24)]
)
def test_a_small_file_of_a_large_image_is_refused_before_it_is_decoded(content: bytes) -> None:
    with pytest.raises(ImageFileError, match="too large to be decoded"):
        open_image(content)


@pytest.mark.fast
def test_an_image_of_one_color_is_read_however_well_it_was_compressed() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (1024, 1024), "red").save(buffer, "WEBP", lossless=True)
    assert len(buffer.getvalue()) < 300
    assert open_image(buffer.getvalue()).size == (1024, 1024)


@pytest.mark.fast
def test_a_tile_that_is_larger_than_its_image_is_refused() -> None:
    tags = [
        (256, 16), (257, 16), (258, 8), (259, 5), (262, 1), (277, 1), (322, 40000), (323, 40000),
        (324, 200), (325, 3),
    ]  # fmt: skip
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    head = b"II*\x00" + struct.pack("<IH", 8, len(tags)) + body + bytes(4)
    with pytest.raises(ImageFileError, match="too large to be decoded"):
        open_image(head.ljust(200, b"\0") + b"\x80\x01\x02")


@pytest.mark.fast
def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a", bytes(50_000_000))
    with (
        pytest.raises(ArchiveError, match="unpacks to 50,000,000 bytes"),
        open_zip(tmp_path / "bomb.zip") as archive,
    ):
        read_member(archive, "a")
    torch.save({"w": torch.zeros(4_000_000)}, tmp_path / "x.pth")
    with zipfile.ZipFile(tmp_path / "x.pth") as source:
        parts = {name: source.read(name) for name in source.namelist()}
    with zipfile.ZipFile(tmp_path / "y.pth", "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in parts.items():
            target.writestr(name, content)
    with pytest.raises(WeightsError, match="unpacks to more than 8 times its size"):
        read_tensors(tmp_path / "y.pth")


def npy(header: str, content: bytes = b"") -> bytes:
    text = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + content


@pytest.mark.fast
@pytest.mark.parametrize(
    "content",
    [
        npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1099511627776,), }"),
        npy("{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 4), }", b"abcd"),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", b"A" * 8),
        npy("{'descr': '|u1', 'fortran_order': False, 'shape': (3,), }", b"abcd"),
        npy("{" * 100),
        npy("{'descr': '<U0', 'fortran_order': False, 'shape': (1000000000000,), }"),
        b"\x93NUMPY\x09\x00",
        b"",
    ],
)
def test_an_array_that_is_not_what_its_header_says_is_refused(
    content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "x.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("arr_0.npy", content)
    with pytest.raises(ArrayFileError, match=r"^[^\n]+$"):
        map_array(tmp_path / "x.npy")
    with pytest.raises(ArrayFileError, match=r"^[^\n]+$"):
        read_arrays(tmp_path / "x.npz")


def test_thousands_of_damaged_files_are_read_or_refused_by_a_process_that_lives() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", ROOT / "scripts" / "fuzz_readers.py", "3000"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["intact"] == {"pickle": 3, "snapshot": 1, "torch": 3, "image": 7, "array": 2}
    assert report["tried"] == 3000
    assert report["refused"] > 2000
    assert report["events"] == []


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe.json")
    return tmp_path / "pipe.json"


@pytest.mark.fast
@pytest.mark.parametrize(
    "command",
    [
        "quality --images {} --reference shapes --res 32",
        "quality --images shapes --reference {}",
        "data build {} --out out --res 32",
        "run --model synthetic --data {}",
        "run --model styleformer --weights {} --measure memory",
        "convert {} out.safetensors",
        "import {} --store s",
        "plan --suite {}",
        "replay {}",
    ],
)
@pytest.mark.timeout(60)
def test_a_pipe_is_refused_where_a_file_is_expected(
    command: str, sfbench: Command, pipe: Path
) -> None:
    done = sfbench(*command.format(pipe).split())
    assert done.returncode == 2, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "a pipe, socket or device; expected a file" in line


@pytest.mark.fast
@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["meta.json", "images.npy"])
def test_a_pipe_in_a_prepared_folder_is_not_waited_for(
    name: str, sfbench: Command, tmp_path: Path
) -> None:
    for index in range(4):
        png(tmp_path / "images", f"{index}.png")
    assert sfbench("data", "build", "images", "--out", "o", "--res", "32").returncode == 0
    (tmp_path / "o" / name).unlink()
    os.mkfifo(tmp_path / "o" / name)
    done = sfbench("data", "info", "o")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr


@pytest.mark.fast
@pytest.mark.timeout(60)
def test_pipes_and_devices_among_files_are_left_out(
    sfbench: Command, pipe: Path, tmp_path: Path
) -> None:
    for index in range(4):
        png(tmp_path / "images", f"{index}.png")
    (tmp_path / "images" / "pipe.png").symlink_to(pipe)
    (tmp_path / "images" / "zero.png").symlink_to("/dev/zero")
    images = ImageCollection(tmp_path / "images")
    assert len(images.sha256()) == 64
    for number in (4, 5):
        with pytest.raises(DataError, match="a pipe, socket or device"):
            images.read(number)
    runs = tmp_path / "store" / "runs"
    runs.mkdir(parents=True)
    (runs / "pipe.json").symlink_to(pipe)
    (runs / "zero.json").symlink_to("/dev/zero")
    done = sfbench("report", "--store", "store")
    assert done.stderr.count("a pipe, socket or device") == 2, done.stderr


@pytest.mark.fast
@pytest.mark.parametrize(
    "header",
    [
        {"size": "999999999999999999999"},
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "99999999999"},
        {"GNU.sparse.map": "0,1,2,x"},
    ],
)
def test_numbers_of_a_tar_file_that_are_none_are_said_in_one_line(
    header: dict[str, str], sfbench: Command, tmp_path: Path
) -> None:
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo("a.png")
        member.pax_headers = header
        tar.addfile(member)
    done = sfbench("data", "build", "x.tar", "--out", "o", "--res", "32")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr


@pytest.mark.fast
@pytest.mark.parametrize(
    ("mean", "covariance"),
    [
        (np.zeros(256).astype("U5"), np.eye(256)),
        (np.zeros(0), np.zeros((0, 0))),
    ],
)
def test_statistics_are_numbers_of_something(
    mean: np.ndarray, covariance: np.ndarray, sfbench: Command, tmp_path: Path
) -> None:
    np.savez(tmp_path / "s.npz", mu=mean, sigma=covariance)
    done = sfbench("quality", "--images", "shapes", "--reference", "s.npz", "--samples", "4")
    assert done.returncode == 2, done.stderr
    assert "are not mean and covariance" in done.stderr


@pytest.mark.fast
@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"kind": "styleformer", "c_dim": -1}', '{"kind": "stylegan2", "w_dim": []}'],
)
def test_an_architecture_that_is_none_is_said_in_one_line(
    text: str, sfbench: Command, tmp_path: Path
) -> None:
    safetensors.torch.save_file(
        {"x": torch.zeros(2)}, tmp_path / "x.safetensors", {"sfbench.architecture": text}
    )
    done = sfbench("convert", "x.safetensors", "y.safetensors")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "its architecture cannot be" in done.stderr


@pytest.mark.fast
def test_labels_may_not_be_larger_than_their_images_allow(tmp_path: Path) -> None:
    png(tmp_path / "images", "0.png")
    rows = ",".join(['["0.png",0]'] * 200_000)
    (tmp_path / "images" / "dataset.json").write_text('{"labels":[' + rows + "]}")
    with pytest.raises(
        DataError, match=r"dataset\.json has 2,.* bytes; expected at most 1,052,672"
    ):
        ImageCollection(tmp_path / "images")


@pytest.mark.fast
def test_parquet_is_unpacked_a_few_rows_at_a_time_in_any_order(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    rows = [{"bytes": str(number).encode(), "path": "x"} for number in range(300)]
    table = pa.table({"image": rows, "label": list(range(300))})
    parquet.write_table(table, tmp_path / "x.parquet", row_group_size=200)
    _, container = open_container(tmp_path / "x.parquet")
    for number in (0, 1, 63, 64, 199, 200, 299, 5, 150, 149):
        found = container.item(number)
        assert (found.content, found.label) == (str(number).encode(), number)
        assert len(container.kept[2]) <= 64  # type: ignore[attr-defined]


@pytest.mark.fast
def test_what_a_file_puts_into_a_message_cannot_steer_a_terminal(
    sfbench: Command, tmp_path: Path
) -> None:
    assert (
        str(DataError("\x1b[31m\nerror: forged \u202egnp")) == r"\x1b[31m\nerror: forged \u202egnp"
    )
    (tmp_path / "x.pkl").write_bytes(b"\x80\x04}X\x14\0\0\0\x1b[31m\nerror: forgedNs.")
    (tmp_path / "s.toml").write_text('[[runs]]\nmodel = "\\u001b[31m\\nerror: forged"\n')
    for command in ("convert x.pkl y.safetensors", "plan --suite s.toml"):
        done = sfbench(*command.split())
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1, done.stderr
        assert "\x1b" not in done.stderr
    png(tmp_path / "images", "\x1b[31mred\u202e.png", b"no image")
    png(tmp_path / "images", "good.png")
    done = sfbench("data", "build", "images", "--out", "o", "--res", "32", "--max-bad", "1")
    assert done.returncode == 0, done.stderr
    assert not {"\x1b", "\u202e"} & set(done.stdout + done.stderr)
