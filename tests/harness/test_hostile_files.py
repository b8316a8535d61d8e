"""Files that would run code, crash or take all memory are read as data, or refused in one line."""

from __future__ import annotations

import argparse
import collections
import contextlib
import io
import json
import os
import pickle
import stat
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sfbench.api import pickled_numbers
from sfbench.api.archives import ArchiveError, open_zip, read_member
from sfbench.api.errors import DataError, WeightsError
from sfbench.api.image_files import ImageFileError, open_image
from sfbench.api.images import ImageCollection
from sfbench.api.pickles import MEMORY_FACTOR, Global, Object, PickleError, parse_pickle
from sfbench.api.tensors import read_tensors
from sfbench.api.torch_files import read_torch_file
from sfbench.data.array_files import ArrayFileError, map_array, read_arrays
from sfbench.data.readers import cifar

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
print([e for e in events if "gs" in str(e[1])])
"""


def parsed(content: bytes) -> object:
    return parse_pickle(io.BytesIO(content), lambda _: True, purpose="file of this test")


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
    with pytest.raises(DataError, match=r"a\.png cannot be read as an image \(no image of a known"):
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
    from sfbench import album

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
        ["report", "--store", "store", "--html", "page.html"],
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
def test_an_image_of_one_colour_is_read_however_well_it_was_compressed() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (1024, 1024), "red").save(buffer, "WEBP", lossless=True)
    assert len(buffer.getvalue()) < 300
    assert open_image(buffer.getvalue()).size == (1024, 1024)


@pytest.mark.fast
def test_a_pickle_becomes_inert_values_and_nothing_of_it_is_called() -> None:
    class Evil:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
            return os.system, ("false",)

    found = parsed(pickle.dumps({"x": Evil(), "y": [1, (2.5, None, True, b"z")]}))
    assert isinstance(found, dict)
    assert found["y"] == [1, (2.5, None, True, b"z")]
    assert isinstance(found["x"], Object)
    assert found["x"].made_by == Global("posix", "system")
    assert found["x"].arguments == ("false",)


@pytest.mark.fast
@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_plain_values_of_every_protocol_come_back_as_they_were(protocol: int) -> None:
    value = {
        "a": [1, -(1 << 40), 2.5, "ä", b"\x00", None, True],
        3: ((), (1,), {"x": {}}),
        "s": {1},
    }
    if protocol < 4:  # sets are calls there, and bytes before 3
        value["a"], value["s"] = value["a"][:4], []  # type: ignore[index]
    assert parsed(pickle.dumps(value, protocol)) == value


@pytest.mark.fast
@pytest.mark.parametrize("dtype", ["u1", "<i8", ">f4", "bool"])
@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_an_array_of_numbers_is_made_from_its_bytes(dtype: str, protocol: int) -> None:
    array = np.asfortranarray(np.arange(6).reshape(2, 3).astype(dtype))
    found = pickled_numbers.array_of(parsed(pickle.dumps(array, protocol)))
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)
    number = pickled_numbers.number_of(parsed(pickle.dumps(array[1, 2], protocol)))
    assert number == array[1, 2]


ADDRESSES = pickle.dumps(np.zeros(4, np.uint8), 2).replace(b"u1", b"O8")
LONGER = pickle.dumps(np.zeros(4, np.uint8), 2).replace(b"K\x04\x85", b"K\x05\x85")
FIELDS = pickle.dumps(np.zeros(1, [("x", "u1")]), 2)


@pytest.mark.fast
@pytest.mark.parametrize("content", [ADDRESSES, LONGER, FIELDS, pickle.dumps(np.zeros(3), 5)])
def test_an_array_of_objects_fields_or_missing_bytes_is_refused(content: bytes) -> None:
    with pytest.raises(PickleError):
        pickled_numbers.array_of(parsed(content))


@pytest.mark.fast
@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02Nr\xff\xff\xff\x7f.",  # a place in the memo that would take gigabytes
        b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f.",  # bytes without end
        b"\x80\x02N" + b"\x85" * 200_000 + b".",  # nested deeper than C can follow
        b"\x80\x02(" + b"(" * 100_000 + b".",
        b"\x80\x02" + b"]" * 200_000 + b".",
    ],
)
def test_a_pickle_takes_memory_in_proportion_to_its_size(content: bytes) -> None:
    tracemalloc.start()
    with contextlib.suppress(PickleError):
        parsed(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= MEMORY_FACTOR * len(content) + 100_000


@pytest.mark.fast
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x02(K\x01K\x02u.", "stack|pickle"),
        (b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7fN", "not a readable pickle"),
        (b"\x80\x02K\x01K\x02R.", "it calls a int"),
        (b"\x80\x02]}b.", "it changes a list"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"\x80\x05\x97.", "NEXT_BUFFER"),
        (b"\x80\x02}K\x01\x85K\x01s.", "a key of type tuple"),
        (b"\x80\x02X\x02\x00\x00\x00idQ.", "outside the file"),
        (b"\x80\x02\x8a\x50" + b"\x01" * 80 + b".", "an integer of"),
        (b"\x80\x02}\x8a\x09" + b"\x00" * 7 + b"\x10\x00Ns.", "a key of type int"),
        (b"p99999999999\n.", "stack|place"),
        (b"Np99999999999\n.", "it keeps a value at place"),
        (b"\x80\x04)" + b"\x85" * 100_000 + b"\x8c\x01x\x93.", "it names a tuple and a str"),
    ],
)
def test_what_is_beyond_the_grammar_is_refused_in_one_line(content: bytes, message: str) -> None:
    with pytest.raises(PickleError, match=message):
        parsed(content)


@pytest.mark.fast
def test_a_text_is_encoded_once_however_often_the_file_asks() -> None:
    text = b"X" + struct.pack("<I", 200_000) + "\u00e9".encode() * 100_000
    latin = b"X\x06\x00\x00\x00latin1"
    start = b"\x80\x02c_codecs\nencode\nq\x00" + text + latin + b"\x86q\x01"
    tracemalloc.start()
    parsed(start + b"](" + b"h\x00h\x01R" * 4000 + b"e.")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def torch_pickle(folder: Path, edit: Callable[[bytes], bytes]) -> Path:
    """Return a state dict whose pickle was edited."""
    torch.save({"w": torch.zeros(2, 2)}, folder / "x.pth")
    with (
        zipfile.ZipFile(folder / "x.pth") as source,
        zipfile.ZipFile(folder / "y.pth", "w") as target,
    ):
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, edit(content) if name.endswith("data.pkl") else content)
    return folder / "y.pth"


@pytest.mark.fast
@pytest.mark.parametrize(
    "edit",
    [
        lambda c: c.replace(b"K\x02K\x01\x86", b"K\x02\x8a\x26" + b"\x01" * 38 + b"\x86"),
        lambda c: c.replace(b"K\x02K\x02\x86", b"(K\x00" + b"J\xff\xff\xff\x7f" * 40 + b"t"),
        lambda c: c.replace(b"K\x02K\x02\x86", b"(" + b"K\x01" * 500 + b"t"),
    ],
)
def test_sizes_and_strides_that_no_tensor_has_are_refused_in_one_line(
    edit: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    with pytest.raises(PickleError, match=r"^[^\n]{1,300}$"):
        read_torch_file(torch_pickle(tmp_path, edit))


@pytest.mark.fast
def test_a_view_that_is_the_negative_of_its_values_is_refused(tmp_path: Path) -> None:
    torch.save({"w": torch._neg_view(torch.ones(2))}, tmp_path / "x.pth")
    with pytest.raises(PickleError, match="conjugate or negative"):
        read_torch_file(tmp_path / "x.pth")


@pytest.mark.fast
def test_what_trainers_keep_beside_weights_does_not_stand_in_their_way(tmp_path: Path) -> None:
    weights = {"w": torch.ones(2)}
    beside = {
        "args": argparse.Namespace(lr=1, path=Path("x")),
        "milestones": collections.Counter({3: 1}),
        "empty": b"",
        "score": np.float64(1.5),
        "names": frozenset({"a"}),
        "array": np.zeros(0),
    }
    torch.save({"model": weights, **beside}, tmp_path / "x.pth")
    assert torch.equal(read_tensors(tmp_path / "x.pth")["w"], weights["w"])


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
def test_labels_of_cifar_are_class_numbers(tmp_path: Path) -> None:
    pixels = np.zeros((2, 3072), np.uint8)
    for labels in ([0], [0, -1], [0, 10**6], ["a", "b"], [0.5, 1.0]):
        part = pickle.dumps({b"data": pixels, b"labels": labels}, 2)
        with pytest.raises(DataError, match="its labels are not 2 class numbers"):
            list(cifar.images("data_batch_1", part, tmp_path))


@pytest.mark.fast
@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_of_either_format_of_torch_come_back_bit_equal(
    zipped: bool, tmp_path: Path
) -> None:
    state = {
        "w": torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).t(),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "count": torch.tensor(7),
        "none": torch.zeros(0, 3),
        "part": torch.arange(10)[2:8:2],
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }
    path = tmp_path / "x.pth"
    torch.save({"state_dict": state, "epoch": 3}, path, _use_new_zipfile_serialization=zipped)
    found = read_tensors(path)
    assert found.keys() == state.keys()
    for name, tensor in state.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor.detach())


@pytest.mark.fast
def test_a_tensor_larger_than_its_storage_is_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(2, 2)}, tmp_path / "x.pth")
    with zipfile.ZipFile(tmp_path / "x.pth") as source:
        parts = {name: source.read(name) for name in source.namelist()}
    with zipfile.ZipFile(tmp_path / "y.pth", "w") as target:
        for name, content in parts.items():
            pickle_ = name.endswith("data.pkl")
            content_ = content.replace(b"K\x02K\x02\x86", b"K\xffK\xff\x86") if pickle_ else content
            assert not pickle_ or content_ != content
            target.writestr(name, content_)
    with pytest.raises(WeightsError, match=r"\(255, 255\) reaches beyond its 4 stored values"):
        read_tensors(tmp_path / "y.pth")


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
