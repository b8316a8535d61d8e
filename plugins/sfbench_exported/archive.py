"""The zip file around an exported program: which members it may have, and the JSON in them."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping
from typing import Any, NoReturn

from sfbench_exported.refusal import RefusedError, need

FORMAT, VERSION, ORDER = "archive_format", "archive_version", "byteorder"
PROGRAM = "models/model.json"
SAMPLES = "data/sample_inputs/model.pt"
WEIGHTS, CONSTANTS = "data/weights/", "data/constants/"
CONFIGS = {
    WEIGHTS: f"{WEIGHTS}model_weights_config.json",
    CONSTANTS: f"{CONSTANTS}model_constants_config.json",
}
"""Which tensors are in a folder: the document that describes them."""
PREFIXES = {WEIGHTS: "weight_", CONSTANTS: "tensor_"}
MEMBER = re.compile(
    rf"{FORMAT}|{VERSION}|{ORDER}|\.data/(version|serialization_id)"
    rf"|{re.escape(PROGRAM)}|{re.escape(SAMPLES)}"
    rf"|{WEIGHTS}(model_weights_config\.json|weight_\d{{1,7}})"
    rf"|{CONSTANTS}(model_constants_config\.json|tensor_\d{{1,7}})"
    r"|extra/[\w .\-/]{1,200}",
    re.ASCII,
)
ROOT = re.compile(r"[\w .\-]{1,200}")
MOST_MEMBERS = 200_000
LARGEST_JSON = 256 << 20
ENCRYPTED = 1
HEADER = 30
"""Bytes of the header before a member's name."""


class Archive:
    """The members of a checked archive, read from one open file.

    Raises RefusedError for members that torch.export does not write (compiled libraries, pickles of
    older layouts), that are compressed, doubled, or overlap.
    """

    def __init__(self, file: zipfile.ZipFile, size: int) -> None:
        infos = file.infolist()
        need(0 < len(infos) <= MOST_MEMBERS, f"it has {len(infos)} members")
        root = infos[0].filename.partition("/")[0]
        need(ROOT.fullmatch(root), f"its folder is called {root[:60]!r}")
        self.file = file
        self.infos: dict[str, zipfile.ZipInfo] = {}
        # Upper and lower case are one to torch's reader, which takes the first of two.
        folded: set[str] = set()
        end = 0
        for info in sorted(infos, key=lambda one: one.header_offset):
            need(info.filename.startswith(f"{root}/"), f"member {info.filename[:60]!r} is outside")
            name = info.filename[len(root) + 1 :]
            known = MEMBER.fullmatch(name) and ".." not in name
            need(known, f"member {name[:60]!r} is none of an exported program")
            need(name.casefold() not in folded, f"two members are called {name!r}")
            folded.add(name.casefold())
            stored = (
                info.compress_type == zipfile.ZIP_STORED and info.file_size == info.compress_size
            )
            need(stored and not info.flag_bits & ENCRYPTED, f"member {name!r} is compressed")
            inside = end <= info.header_offset and info.header_offset + info.file_size <= size
            need(inside, f"member {name!r} overlaps another")
            end = info.header_offset + HEADER + info.file_size
            self.infos[name] = info
        for name in (FORMAT, VERSION, PROGRAM, *CONFIGS.values()):
            need(name in self.infos, f"member {name} is missing")
        need(self.read(FORMAT) == b"pt2", "its format is not pt2")
        need(self.read(VERSION) == b"0", "its version of the archive is unknown")
        order = self.read(ORDER) if ORDER in self.infos else b"little"
        need(order == b"little", "its byte order is not little")

    def read(self, name: str) -> bytes:
        """Return the bytes of a member."""
        return self.file.read(self.infos[name])

    def document(self, name: str) -> Any:
        """Return a JSON document; raises RefusedError for a damaged or doubtful one."""
        need(self.infos[name].file_size <= LARGEST_JSON, f"{name} is too large")
        return parsed(self.read(name))


def parsed(content: bytes | str) -> Any:
    """Return JSON without doubled keys and numbers that are none; raises RefusedError."""
    try:
        return json.loads(content, object_pairs_hook=once, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        if isinstance(error, RefusedError):
            raise
        msg = f"damaged JSON ({type(error).__name__})"
        raise RefusedError(msg) from None


def once(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    """Return pairs as a dict; two of one key could be read differently by two readers."""
    found = dict(pairs)
    need(len(found) == len(pairs), "a JSON object has a key twice")
    return found


def no_constant(word: str) -> NoReturn:
    """Refuse NaN and Infinity as bare words."""
    msg = f"JSON holds the bare word {word}"
    raise RefusedError(msg)
