"""Fuzz every reader of foreign files with mutated files: each must be read or refused.

    python scripts/fuzz_readers.py [COUNT] [--kinds pickle,image] [--seed 0]

A reader may return a value or raise a SfbenchError or ValueError of one line; anything else is
reported. An audit hook watches that no process is started, no library loaded and nothing outside
the folder of the files opened for writing. A crash by signal ends this program: run it as a child.
Prints one line of JSON: how many files of each kind were read before they were damaged; how many
damaged ones were tried, read, refused; failures; forbidden events; the most memory that one file
took, in MiB (over `ALLOWED_MEMORY` is a failure), and the slowest file in seconds.
"""

from __future__ import annotations

import argparse
import io
import json
import pickle
import random
import resource
import sys
import tempfile
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from reference_models import snapshots
from sfbench.api.errors import SfbenchError
from sfbench.api.image_files import FORMATS, open_image
from sfbench.api.tensors import read_tensors
from sfbench.data.array_files import array_names, map_array, read_arrays
from sfbench.data.containers import cifar

FORBIDDEN_EVENTS = (
    "subprocess.Popen", "os.exec", "os.posix_spawn", "os.system", "os.fork", "os.forkpty",
    "pickle.find_class", "ctypes.dlopen", "socket.connect",
)  # fmt: skip
ALLOWED_MEMORY = 512 << 20
"""Most bytes of memory that one small file may take: 4 million instructions of a pickle."""
SLOW_SECONDS = 10.0
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\nshowpage\n"
NAMES = (
    "posix system", "builtins eval", "builtins getattr", "numpy dtype", "numpy ndarray",
    "numpy.core.multiarray _reconstruct", "numpy.core.multiarray scalar", "_codecs encode",
    "collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch FloatStorage",
    "torch._utils _rebuild_parameter", "torch.storage _load_from_bytes", "dnnlib.util EasyDict",
    "torch_utils.persistence _reconstruct_persistent_obj", "builtins set", "__torch__ M",
)  # fmt: skip
FRAGMENTS = (
    *(f"c{name.replace(' ', chr(10))}\n".encode() for name in NAMES),
    b"(", b")", b"}", b"]", b"t", b"\x85", b"\x86", b"\x87", b"R", b"b", b"u", b"s", b"a", b"e",
    b"0", b"2", b"\x81", b"N", b"\x88", b"Q", b"\x94", b"q\x01", b"h\x01", b"r\xff\xff\xff\x7f",
    b"j\xff\xff\xff\x7f", b"K\x01", b"J\xff\xff\xff\x7f", b"\x8b\xff\xff\xff\x7f", b"U\x02O8",
    b"X\x02\x00\x00\x00f8", b"B\xff\xff\xff\xff", b"\x8e" + b"\xff" * 8, b"\x95" + b"\x7f" * 8,
    b"\x8f", b"\x90", b"\x91", b"C\x08AAAAAAAA", b"\x92", b"i", b"o", b"\x82\x01", b".",
)  # fmt: skip


class Call:
    """Pickles as a call of a name that need not exist here."""

    def __init__(self, name: str, *arguments: Any) -> None:
        self.name, self.arguments = name, arguments


class Writer(pickle._Pickler):  # type: ignore[name-defined]  # noqa: SLF001  # the pure Python pickler can be extended
    """Writes calls of names."""

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:  # noqa: FBT001, FBT002  # pickle's signature
        """Write a value."""
        if isinstance(obj, Call):
            self.write(f"c{obj.name.replace(' ', chr(10))}\n".encode())
            super().save(obj.arguments, save_persistent_id)
            self.write(pickle.REDUCE)
        else:
            super().save(obj, save_persistent_id)


def pickled(value: Any, protocol: int = 2) -> bytes:
    """Return a value as a pickle."""
    buffer = io.BytesIO()
    Writer(buffer, protocol=protocol).dump(value)
    return buffer.getvalue()


def stored(tensor: torch.Tensor) -> Call:
    """Return a tensor as a snapshot keeps it."""
    buffer = io.BytesIO()
    storage = torch.storage.TypedStorage(
        wrap_storage=tensor.untyped_storage(), dtype=tensor.dtype, _internal=True
    )
    torch.save(storage, buffer, _use_new_zipfile_serialization=False)
    bytes_ = Call("torch.storage _load_from_bytes", buffer.getvalue())
    size, stride = tuple(tensor.shape), tensor.stride()
    return Call("torch._utils _rebuild_tensor_v2", bytes_, 0, size, stride, False, OrderedDict())  # noqa: FBT003  # as it is stored


def snapshot() -> bytes:
    """Return a snapshot with one parameter and one part."""
    name = "torch_utils.persistence _reconstruct_persistent_obj"
    state = {"_parameters": {"w": stored(torch.ones(2, 3))}, "_buffers": {}, "_modules": {}}
    part = Call(name, {"class_name": "Part", "state": state})
    whole = state | {"_init_kwargs": {"z_dim": np.int64(4)}, "_modules": {"part": part}}
    return pickled({"G_ema": Call(name, {"class_name": "G", "state": whole, "module_src": "1/0"})})


def torch_file(value: Any, *, zipped: bool) -> bytes:
    """Return what torch.save writes."""
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def torchscript() -> bytes:
    """Return a TorchScript archive."""
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), buffer)
    return buffer.getvalue()


def images() -> list[bytes]:
    """Return a small image in every format, some of them with metadata."""
    pixels = Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8))
    found = [POSTSCRIPT]
    for kind in ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "EPS", "ICO", "TGA", "PDF"):
        buffer = io.BytesIO()
        pixels.save(buffer, kind)
        found.append(buffer.getvalue())
    return found


def arrays() -> list[bytes]:
    """Return .npy and .npz files."""
    one, many = io.BytesIO(), io.BytesIO()
    np.save(one, np.zeros((2, 4, 4, 3), np.uint8))
    np.savez_compressed(many, mu=np.zeros(4), sigma=np.eye(4), text=np.array("{}"))
    return [one.getvalue(), many.getvalue()]


def read_cifar(path: Path) -> None:
    """Read a part of CIFAR."""
    cifar.arrays_of("data_batch_1", path.read_bytes(), path)


def read_image(path: Path) -> None:
    """Read an image."""
    found = open_image(path.read_bytes())
    if found.format not in {*FORMATS, "MPO"}:
        msg = f"{found.format} was decoded"
        raise AssertionError(msg)


def read_array(path: Path) -> None:
    """Read an array file of either kind."""
    if zipfile.is_zipfile(path):
        array_names(path)
        read_arrays(path)
    else:
        np.array(map_array(path))


def worlds() -> Mapping[str, tuple[Callable[[Path], Any], Sequence[bytes]]]:
    """Return readers by kind, each with files to mutate."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (4, 3072)).astype(np.uint8)
    batches = [pickle.dumps({b"data": pixels, b"labels": [0, 1, 2, 3]}, p) for p in (2, 3, 4)]
    state = {"w": torch.ones(2, 3), "n": torch.arange(4), "deep": OrderedDict(x=torch.zeros(1))}
    return {
        "pickle": (read_cifar, [*batches, pickled(np.zeros(3)), pickled([1.5] * 20, 0)]),
        "snapshot": (snapshots.read_snapshot, [snapshot()]),
        "torch": (
            read_tensors,
            [torch_file(state, zipped=True), torch_file(state, zipped=False), torchscript()],
        ),
        "image": (read_image, images()),
        "array": (read_array, arrays()),
    }


def mutated(content: bytes, kind: str, rng: random.Random) -> bytes:
    """Return the content with a few things wrong with it."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        place = rng.randrange(len(data)) if data else 0
        match rng.randrange(6):
            case 0:
                data[place : place + 1] = bytes([rng.randrange(256)])
            case 1:
                del data[place : place + rng.choice((1, 4, 64))]
            case 2:
                data[place:place] = data[place : place + rng.choice((1, 8, 64))]
            case 3:
                data[place : place + 4] = rng.choice((b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f"))
            case 4 if kind != "image":
                data[place:place] = rng.choice(FRAGMENTS)
            case _:
                del data[place : rng.choice((place + 2, place + 2, len(data)))]
    return bytes(data)


def made_up(rng: random.Random) -> bytes:
    """Return a pickle of random instructions."""
    return b"\x80\x02" + b"".join(rng.choices(FRAGMENTS, k=rng.randrange(1, 60))) + b"."


def rezipped(content: bytes, rng: random.Random) -> bytes:
    """Return an archive whose members are mutated, with checksums that agree."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as source,
        zipfile.ZipFile(buffer, "w", rng.choice((0, 8))) as target,
    ):
        for name in source.namelist():
            inner = source.read(name)
            pick = name.endswith((".pkl", ".npy")) and rng.random() < 0.8  # most of them
            target.writestr(name, mutated(inner, "pickle", rng) if pick else inner)
    return buffer.getvalue()


def one_file(kind: str, sources: Sequence[bytes], rng: random.Random) -> bytes:
    """Return the next file of a kind."""
    source = rng.choice(sources)
    if kind in {"pickle", "snapshot"} and rng.random() < 0.3:  # a third
        return made_up(rng)
    if source[:2] == b"PK" and rng.random() < 0.7:  # most of them
        return rezipped(source, rng)
    return mutated(source, kind, rng)


def peak_bytes() -> int:
    """Return the peak of this process's memory since it was last reset."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(text.partition("VmHWM:")[2].split()[0]) << 10


def reset_peak() -> int:
    """Reset the peak and return it."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return peak_bytes()


def outcome(read: Callable[[Path], Any], path: Path) -> str:
    """Return "read", "refused", or what went wrong."""
    try:
        read(path)
    except (SfbenchError, ValueError) as error:
        lines = str(error).splitlines()
        return "refused" if len(lines) == 1 and lines[0] else f"{len(lines)} lines: {error!r}"
    except Exception as error:  # noqa: BLE001  # what this program looks for
        return f"{type(error).__name__}: {error}"
    return "read"


def main() -> int:
    """Try the files and say what happened; 1 where something went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=10_000)
    parser.add_argument("--kinds", default="")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    found = worlds()
    kinds = asked.kinds.split(",") if asked.kinds else list(found)
    events: list[str] = []
    counts = {"tried": 0, "read": 0, "refused": 0}
    failures: list[str] = []
    most, slowest = 0, 0.0
    intact: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in kinds:  # readers do all imports before the audit begins
            read, sources = found[kind]
            for source in sources:
                (Path(folder) / "x").write_bytes(source)
                said = outcome(read, Path(folder) / "x")
                intact[kind] = intact.get(kind, 0) + (said == "read")
        sys.addaudithook(
            lambda event, _: events.append(event) if event in FORBIDDEN_EVENTS else None
        )
        for number in range(asked.count):
            rng = random.Random(f"{asked.seed}/{number}")  # noqa: S311  # no secret
            kind = kinds[number % len(kinds)]
            read, sources = found[kind]
            content = one_file(kind, sources, rng)
            path = Path(folder) / f"{number % 8}"
            path.write_bytes(content)
            before, start = reset_peak(), time.perf_counter()
            said = outcome(read, path)
            seconds, taken = time.perf_counter() - start, peak_bytes() - before
            most, slowest = max(most, taken), max(slowest, seconds)
            counts["tried"] += 1
            if said in counts:
                counts[said] += 1
            else:
                failures.append(f"{kind} {number}: {said[:200]}")
            if taken > ALLOWED_MEMORY or seconds > SLOW_SECONDS:
                failures.append(f"{kind} {number}: {taken >> 20} MiB, {seconds:.1f} s")
    report = counts | {
        "intact": intact,
        "failures": failures[:20],
        "failed": len(failures),
        "events": sorted(set(events)),
        "most_mib": round(most / (1 << 20), 1),
        "slowest_seconds": round(slowest, 3),
    }
    print(json.dumps(report))
    return 1 if failures or events else 0


if __name__ == "__main__":
    sys.exit(main())
