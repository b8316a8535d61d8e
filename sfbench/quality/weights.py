"""Where the Inception-v3 weights are: a given file, torch's cache, or a checked download. No torch."""

from __future__ import annotations

import dataclasses
import hashlib
import http.client
import os
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from sfbench.api.errors import WeightsError
from sfbench.plan import Source

NAME = "weights-inception-2015-12-05-6726825d.pth"
URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{NAME}"
SIZE = 95_628_359
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
TIMEOUT_SECONDS = 30
BLOCK_BYTES = 1 << 20

INCEPTION = "inception-v3"
BUILT_IN = "untrained-64"


@dataclasses.dataclass(frozen=True, slots=True)
class WeightsFile:
    """A file to fetch: where from, its size in bytes, and the digest that decides."""

    url: str = URL
    size: int = SIZE
    sha256: str = SHA256


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def locate(choice: str, torch_home: Path) -> Source:
    """Return the extractor that an --inception value stands for.

    "auto": the standard weights in torch's cache, else the built-in extractor. "none": the
    built-in one. "download": the standard weights, fetched and checked when not there yet. A path:
    that file. Raises WeightsError for a missing file or one in the cache with a wrong digest.
    """
    cached = torch_home / "hub" / "checkpoints" / NAME
    if choice == "none" or (choice == "auto" and not cached.exists()):
        return Source(kind=BUILT_IN)
    if choice == "download" and not cached.exists():
        download(cached)
    path = cached if choice in {"auto", "download"} else Path(choice)
    if not path.is_file():
        msg = f"--inception {choice}: no such file; give a file, auto, none or download"
        raise WeightsError(msg)
    found = file_sha256(path)
    if path == cached and found != SHA256:
        msg = f"{path}: sha256 {found[:12]}…, expected {SHA256[:12]}…; delete the damaged file"
        raise WeightsError(msg)
    return Source(kind=INCEPTION, path=str(path.resolve()), sha256=found)


def download(target: Path, wanted: WeightsFile = WeightsFile()) -> None:  # frozen
    """Fetch the file beside its target, check size and digest, and rename it into place.

    Raises WeightsError in one line when it cannot be had or is not the expected file.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, suffix=".part")
    part = Path(name)
    try:
        sha = hashlib.sha256()
        with (
            os.fdopen(handle, "wb") as file,
            urllib.request.urlopen(wanted.url, timeout=TIMEOUT_SECONDS) as answer,  # noqa: S310  # https, checked
        ):
            while block := answer.read(BLOCK_BYTES):
                sha.update(block)
                file.write(block)
                if file.tell() > wanted.size:
                    break
        if part.stat().st_size != wanted.size or sha.hexdigest() != wanted.sha256:
            msg = (
                f"{wanted.url}: got {part.stat().st_size} bytes, sha256 {sha.hexdigest()[:12]}…; "
                f"expected {wanted.size} bytes, sha256 {wanted.sha256[:12]}…; nothing was kept"
            )
            raise WeightsError(msg)
        part.rename(target)
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        msg = (
            f"{wanted.url} cannot be fetched ({error}); put the file at {target} by hand, "
            "or measure with --inception none"
        )
        raise WeightsError(msg) from None
    finally:
        part.unlink(missing_ok=True)
