"""Pickles are parsed as data: nothing of them is called, and nothing takes more than its share."""

from __future__ import annotations

import argparse
import collections
import contextlib
import io
import os
import pickle
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sfbench.api import pickled_numbers
from sfbench.api.errors import DataError, WeightsError
from sfbench.api.pickles import MEMORY_FACTOR, Global, Object, PickleError, parse_pickle
from sfbench.api.tensors import read_tensors
from sfbench.api.torch_files import read_torch_file
from sfbench.data.containers import cifar


def parsed(content: bytes) -> object:
    return parse_pickle(io.BytesIO(content), lambda _: True, purpose="file of this test")


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
def test_labels_of_cifar_are_class_numbers(tmp_path: Path) -> None:
    pixels = np.zeros((2, 3072), np.uint8)
    for labels in ([0], [0, -1], [0, 10**6], ["a", "b"], [0.5, 1.0]):
        part = pickle.dumps({b"data": pixels, b"labels": labels}, 2)
        with pytest.raises(DataError, match="expected 2 class numbers as labels"):
            cifar.arrays_of("data_batch_1", part, tmp_path)


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
def test_a_dictionary_made_of_pairs_is_read_whole(tmp_path: Path) -> None:
    """Python 2 pickled an ordered dictionary as a list of pairs: so is the file of LPIPS."""

    class Old:
        def __init__(self, *made_of: object) -> None:
            self.made_of = made_of

        def __reduce__(self) -> tuple[type, tuple[object, ...]]:
            return collections.OrderedDict, self.made_of

    torch.save(Old([["a", torch.ones(2)], ("b", torch.zeros(1))]), tmp_path / "w.pth")
    assert {name: len(one) for name, one in read_tensors(tmp_path / "w.pth").items()} == {
        "a": 2,
        "b": 1,
    }
    torch.save(Old({"a": torch.ones(2)}), tmp_path / "d.pth")
    assert list(read_tensors(tmp_path / "d.pth")) == ["a"]
    for wrong in ([["a"]], [[("t",), 1]], [[1 << 61, 1]], ["ab", 3]):
        torch.save(Old(wrong), tmp_path / "x.pth")
        with pytest.raises(WeightsError, match="made from something other than pairs"):
            read_tensors(tmp_path / "x.pth")
