"""Reading tensors of files written by torch: state dicts, old and new, and TorchScript archives.

A file is a pickle that describes a tree, and the bytes of storages. The pickle is parsed as data
(see `pickles`), so that neither code of TorchScript modules nor anything else in it runs. Tensors
are views of storages whose every value lies in the file. An archive may unpack to at most
`UNPACK_FACTOR` times its size.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from sfbench.api import pickled_numbers
from sfbench.api.archives import DAMAGE
from sfbench.api.errors import first_line
from sfbench.api.pickles import Global, Object, PickleError, Reference, entries, parse_pickle

if TYPE_CHECKING:
    from torch import Tensor

UNPACK_FACTOR, UNPACK_FLOOR = 8, 1 << 20
LEGACY_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"
"""How torch.save files began before they were zip files: a pickled number."""
LEGACY_PROTOCOL = 1001
CONSTANTS = "/constants.pkl"
PURPOSE = "weights file"
STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}
TENSORS = {Global("torch._utils", "_rebuild_tensor_v2"), Global("torch._utils", "_rebuild_tensor")}
PARAMETERS = {
    Global("torch._utils", "_rebuild_parameter"),
    Global("torch._utils", "_rebuild_parameter_with_state"),
}
MADE = TENSORS | PARAMETERS | {Global("torch._tensor", "_rebuild_from_type_v2")}
TYPED, TYPED_ARGUMENTS = Global("torch._tensor", "_rebuild_from_type_v2"), 2
"""Tensors with attributes, or of a subclass."""
ORDERED = {Global("collections", "OrderedDict"), Global("collections", "defaultdict")}
SETS = {Global("builtins", "set"), Global("__builtin__", "set")}
TORCH_NAMES = frozenset(STORAGES) | {
    "Size", "device", "float16", "float32", "float64", "bfloat16", "int8", "int16", "int32",
    "int64", "uint8", "bool", "strided", "contiguous_format",
}  # fmt: skip
PLAIN = {
    Global(module, name)
    for module, names in {
        "argparse": ("Namespace",),
        "collections": ("Counter", "deque"),
        "pathlib._local": ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path"),
        "pathlib": ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path"),
        "builtins": ("bytes", "bytearray", "complex", "frozenset", "list", "dict", "int", "float"),
        "__builtin__": ("bytes", "bytearray", "complex", "frozenset", "list", "dict", "int", "float"),
        "numpy": ("str_", "bytes_", "float32", "float64", "int64"),
        "torch.nn.parameter": ("Parameter",),
        "torch": ("Tensor",),
    }.items()
    for name in names
}  # fmt: skip
"""What trainers store beside weights. It is not built: it stays a name with arguments."""
ALLOWED = TENSORS | PARAMETERS | ORDERED | SETS | PLAIN | pickled_numbers.NAMES | {TYPED}
SIZE = Global("torch", "Size")
SCRIPT = "__torch__"
LENGTH = struct.Struct("<q")
STORAGE_FIELDS, TENSOR_FIELDS, METADATA = 5, 4, 6
BLOCK_BYTES = 1 << 24
MOST_NAMES = 1_000_000
DEEPEST = 64
LONGEST = 1 << 40
FlatOf = Callable[[Any], "Tensor"]
"""The flat tensor of what a file gives as a tensor's storage."""


class Storage(NamedTuple):
    """Which storage a pickle refers to: its name, torch's name of its type, and how many values."""

    key: str
    kind: str
    values: int


def is_torch_file(path: Path) -> bool:
    """Return whether the file begins as one that torch wrote."""
    with path.open("rb") as file:
        legacy = file.read(len(LEGACY_START)) == LEGACY_START
    return legacy or zipfile.is_zipfile(path)


def read_torch_file(path: Path) -> Any:
    """Return a state dict's tree, or the tensors of a TorchScript archive by dotted names.

    Trees consist of dictionaries, lists, tuples, numbers, text and tensors; what else a file holds
    is left as an inert `Object`. Raises PickleError in one line.
    """
    if zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                return read_archive(archive, path.stat().st_size)
        except (*DAMAGE, OSError, MemoryError) as error:
            msg = f"it is a damaged zip archive ({first_line(error)})"
            raise PickleError(msg) from None
    with path.open("rb") as file:
        return read_legacy(file)


def read_torch_bytes(content: bytes) -> Any:
    """Return the tree of a file's content, as `read_torch_file` does."""
    if content.startswith(LEGACY_START):
        return read_legacy(io.BytesIO(content))
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return read_archive(archive, len(content))
    except (*DAMAGE, OSError, MemoryError) as error:
        msg = f"its stored tensor is damaged ({first_line(error)})"
        raise PickleError(msg) from None


def read_archive(archive: zipfile.ZipFile, size: int) -> Any:
    """Return the tree of a zip archive of that many bytes."""
    names = archive.namelist()
    script = any(name.endswith(CONSTANTS) for name in names)
    pickles = [name for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
    if not pickles:
        msg = "it is a zip archive without data.pkl; expected one that torch wrote"
        raise PickleError(msg)
    prefix = pickles[0].removesuffix("data.pkl")
    members = Members(archive, prefix, size)
    if f"{prefix}byteorder" in names and bytes(members.read("byteorder")) != b"little":
        msg = "its numbers are big-endian; expected little-endian"
        raise PickleError(msg)
    document = parse_pickle(
        io.BytesIO(members.read("data.pkl")),
        script_name if script else weights_name,
        purpose=PURPOSE,
        references=[],
    )
    if script:
        return dict(module_tensors(document, members.storage))
    return resolved(document, members.storage)


def read_legacy(file: BinaryIO) -> Any:
    """Return the tree of a file of the time before zip archives."""
    _, protocol, _ = [parse_pickle(file, nothing, purpose=PURPOSE) for _ in range(3)]
    if type(protocol) is not int or protocol != LEGACY_PROTOCOL:
        msg = f"expected torch file protocol {LEGACY_PROTOCOL}, found another"
        raise PickleError(msg)
    references: list[Reference] = []
    document = parse_pickle(file, weights_name, purpose=PURPOSE, references=references)
    keys = parse_pickle(file, nothing, purpose=PURPOSE)
    kinds = {storage.key: storage.kind for storage in map(storage_of, references)}
    named = isinstance(keys, list) and all(type(key) is str for key in keys)
    if not named or set(keys) != kinds.keys():
        msg = "its list of storages does not match its tensors"
        raise PickleError(msg)
    flat = {str(key): following_storage(file, kinds[str(key)]) for key in keys}

    def flat_of(reference: Any) -> Tensor:
        storage = storage_of(reference)
        return first_of(flat[storage.key], storage.values)

    return resolved(document, flat_of)


def following_storage(file: BinaryIO, kind: str) -> Tensor:
    """Return the flat tensor that comes next in a legacy file: its length, then its values."""
    start = file.tell()
    left = file.seek(0, io.SEEK_END) - start - LENGTH.size
    file.seek(start)
    count = LENGTH.unpack(file.read(LENGTH.size))[0] if left >= 0 else 0
    size = count * item_size(kind)
    if not 0 <= size <= left:
        msg = f"a storage of {count} values, with {max(left, 0)} bytes left in the file"
        raise PickleError(msg)
    return flat_tensor(bytearray(file.read(size)), kind)


class Members:
    """The members of an archive below one folder, with a limit on what is unpacked."""

    def __init__(self, archive: zipfile.ZipFile, prefix: str, size: int) -> None:
        self.archive = archive
        self.prefix = prefix
        self.left = UNPACK_FACTOR * size + UNPACK_FLOOR
        self.flat: dict[str, Tensor] = {}

    def read(self, name: str) -> bytearray:
        """Return a member's content."""
        member = self.archive.getinfo(self.prefix + name)
        self.left -= member.file_size
        if self.left < 0:
            msg = f"it unpacks to more than {UNPACK_FACTOR} times its size: refused"
            raise PickleError(msg)
        content = bytearray()
        with self.archive.open(member) as file:
            while block := file.read(BLOCK_BYTES):
                content += block
        return content

    def storage(self, reference: Any) -> Tensor:
        """Return the flat tensor of a storage."""
        found = storage_of(reference)
        if found.key not in self.flat:
            self.flat[found.key] = flat_tensor(self.read(f"data/{found.key}"), found.kind)
        return first_of(self.flat[found.key], found.values)


def storage_of(reference: Any) -> Storage:
    """Return the storage of a reference; raises PickleError for an invalid one."""
    fields = reference.identifier if isinstance(reference, Reference) else None
    if not isinstance(fields, tuple) or len(fields) < STORAGE_FIELDS or fields[0] != "storage":
        msg = "it refers to something other than a tensor storage: refused"
        raise PickleError(msg)
    _, kind, key, _, count, *view = fields
    if not isinstance(kind, Global) or kind.module != "torch" or kind.name not in STORAGES:
        found = str(kind)[:60] if isinstance(kind, Global) else type(kind).__name__
        msg = f"a storage of type {found}; expected one of {', '.join(STORAGES)}"
        raise PickleError(msg)
    if not isinstance(key, str) or type(count) is not int or any(view):
        msg = "a storage without a name and a length: refused"
        raise PickleError(msg)
    return Storage(key, STORAGES[kind.name], count)


def item_size(kind: str) -> int:
    """Return how many bytes a value takes."""
    import torch  # slow

    dtype: torch.dtype = getattr(torch, kind)
    return dtype.itemsize


def flat_tensor(content: bytearray, kind: str) -> Tensor:
    """Return bytes as a flat tensor."""
    import torch  # slow

    dtype: torch.dtype = getattr(torch, kind)
    if len(content) % dtype.itemsize:
        msg = f"a storage of {len(content)} bytes; expected whole {kind} values"
        raise PickleError(msg)
    return torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)


def first_of(flat: Tensor, count: int) -> Tensor:
    """Return the first values of a storage; raises PickleError if it has fewer."""
    if not 0 <= count <= flat.numel():
        msg = f"a storage of {count} values that holds {flat.numel()}"
        raise PickleError(msg)
    return flat[:count]


def strided_tensor(flat: Tensor, offset: Any, size: Any, stride: Any) -> Tensor:
    """Return a view of a flat tensor; raises PickleError if it reaches beyond it.

    One stored value cannot stand for many: a view has at most as many values as its storage.
    """
    tuples = type(size) is type(stride) is tuple and len(size) == len(stride) <= DEEPEST
    numbers = (offset, *size, *stride) if tuples else (None,)
    if not all(type(n) is int and 0 <= n < LONGEST for n in numbers):
        msg = "a tensor without an offset, a size and strides"
        raise PickleError(msg)
    if math.prod(filter(None, size)) >= LONGEST:
        msg = f"a tensor of size {size} reaches beyond its {flat.numel()} stored values"
        raise PickleError(msg)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    beyond = last >= flat.numel() or math.prod(size) > flat.numel()
    if 0 not in size and beyond:
        msg = f"a tensor of size {size} reaches beyond its {flat.numel()} stored values"
        raise PickleError(msg)
    if 0 in size:
        return flat.new_empty(size)
    return flat.as_strided(size, stride, offset)


def tensor_of(value: Object, flat_of: FlatOf) -> Tensor:
    """Return the tensor that a pickle describes, through any number of parameters around it."""
    for _ in range(DEEPEST):
        if value.made_by == TYPED and len(value.arguments) > TYPED_ARGUMENTS:
            made_by, _, inside = value.arguments[: TYPED_ARGUMENTS + 1]
            if not isinstance(made_by, Global) or type(inside) is not tuple:
                break
            value = Object(made_by, inside)
            continue
        if value.made_by not in PARAMETERS:
            break
        inner = value.arguments[0] if value.arguments else None
        if not isinstance(inner, Object):
            msg = "a parameter without a tensor"
            raise PickleError(msg)
        value = inner
    if value.made_by not in TENSORS or len(value.arguments) < TENSOR_FIELDS:
        msg = f"a {value.made_by} where a tensor was expected"
        raise PickleError(msg)
    stored, offset, size, stride = value.arguments[:TENSOR_FIELDS]
    if any(value.arguments[METADATA:]):
        msg = "a tensor that is stored as the conjugate or negative of its values"
        raise PickleError(msg)
    if isinstance(size, Object) and size.made_by == SIZE and len(size.arguments) == 1:
        size = size.arguments[0]
    return strided_tensor(flat_of(stored), offset, size, stride)


def resolved(  # noqa: C901  # one case for each kind of value
    document: Any, flat_of: FlatOf, dictionaries: frozenset[Global] | set[Global] = ORDERED
) -> Any:
    """Return a tree with tensors, dictionaries and numbers for the objects that stand for them.

    What stands at several places is made once.
    """
    made: dict[int, Any] = {}

    def at(value: Any, depth: int) -> Any:
        if depth > DEEPEST:
            msg = f"it is nested more than {DEEPEST} levels deep"
            raise PickleError(msg)
        if isinstance(value, Reference):
            return flat_of(value)
        if not isinstance(value, dict | list | tuple | Object):
            return value
        if id(value) not in made:
            made[id(value)] = None  # a value nested in itself becomes None
            made[id(value)] = inside(value, depth + 1)
        return made[id(value)]

    def inside(value: Any, depth: int) -> Any:
        if isinstance(value, dict):
            return {key: at(one, depth) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(at(one, depth) for one in value)
        if value.made_by in dictionaries:
            return {key: at(one, depth) for key, one in entries(value).items()}
        if value.made_by in pickled_numbers.SCALARS:
            return pickled_numbers.number_of(value)
        if value.made_by in MADE:
            return tensor_of(value, flat_of)
        return value

    return at(document, 0)


def module_tensors(root: Any, flat_of: FlatOf) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors below a TorchScript module by dotted names, in stored order.

    A module's state that is not a dictionary (its code would interpret it) holds none.
    """
    made: dict[int, Tensor] = {}
    stack, count = [("", root, 0)], 0
    while stack:
        name, value, depth = stack.pop()
        count += 1
        if count > MOST_NAMES or depth > DEEPEST:
            msg = f"its modules are nested over {DEEPEST} deep, or hold over {MOST_NAMES:,} names"
            raise PickleError(msg)
        if not isinstance(value, Object):
            continue
        if value.made_by in MADE:
            if id(value) not in made:
                made[id(value)] = tensor_of(value, flat_of)
            yield name, made[id(value)]
        elif value.made_by.module.startswith(SCRIPT) and isinstance(value.state, dict):
            inner = [(f"{name}.{key}" if name else str(key), v) for key, v in value.state.items()]
            stack += [(key, one, depth + 1) for key, one in reversed(inner)]


def nothing(_: Global) -> bool:
    """Return that no name may occur."""
    return False


def weights_name(found: Global) -> bool:
    """Return whether a state dict may hold a name."""
    return found in ALLOWED or (found.module == "torch" and found.name in TORCH_NAMES)


def script_name(found: Global) -> bool:
    """Return whether a TorchScript archive may hold a name: modules, and typed lists of numbers."""
    lists = found.module == "torch.jit._pickle" and found.name.startswith("build_")
    return found.module.startswith(SCRIPT) or lists or weights_name(found)
