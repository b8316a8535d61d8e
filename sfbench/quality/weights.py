"""Where weights of extractors are: a given file, torch's cache, or a checked download. No torch."""

from __future__ import annotations

import hashlib
import http.client
import importlib.util
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from sfbench.api.errors import WeightsError
from sfbench.api.spec import WeightsFile
from sfbench.store.content import file_sha256
from sfbench.store.whole_file import whole_file

TIMEOUT_SECONDS = 30
BLOCK_BYTES = 1 << 20


def place(file: WeightsFile, torch_home: Path) -> Path:
    """Return where a published file is looked for."""
    return torch_home / file.folder / file.name


def find_weights(
    name: str,
    files: Sequence[WeightsFile],
    choice: str,
    torch_home: Path,
    flag: str = "--extractor-weights",
) -> tuple[Path, str]:
    """Return the weights of a network and their digest; `flag` chooses them.

    `choice`: "auto" takes the first published file that is in torch's cache; "download" fetches it
    when none is; anything else is a path. Raises WeightsError for a file that is missing, or one
    in the cache with a wrong digest.
    """
    if choice not in {"auto", "download"}:
        path = Path(choice)
        if not path.is_file():
            what = "a folder" if path.is_dir() else "no such file"
            msg = f"{flag} {choice}: {what}; give a file, auto or download"
            raise WeightsError(msg)
        return path.resolve(), file_sha256(path)
    for file in files:
        cached = place(file, torch_home)
        if cached.exists():
            return cached, checked(cached, file)
    if choice == "download" and files and files[0].url and files[0].sha256:
        target = place(files[0], torch_home)
        download(target, files[0])
        return target, files[0].sha256
    raise WeightsError(missing(name, files, choice, torch_home, flag))


def find_lpips(file: WeightsFile, choice: str, torch_home: Path) -> tuple[Path, str]:
    """Return the linear layers of LPIPS: as `find_weights`, or from the package lpips if installed."""
    if choice == "auto" and not place(file, torch_home).exists():
        found = importlib.util.find_spec("lpips")
        if found is not None and found.origin is not None:
            inside = Path(found.origin).parent / "weights" / "v0.1" / "vgg.pth"
            if inside.is_file() and file_sha256(inside) == file.sha256:
                return inside, str(file.sha256)
    return find_weights("lpips", (file,), choice, torch_home, "--lpips-weights")


def checked(path: Path, file: WeightsFile) -> str:
    """Return a cached file's digest; raises WeightsError if it is not the published one."""
    found = file_sha256(path)
    if file.sha256 is not None and found != file.sha256:
        msg = f"{path}: sha256 {found[:12]}…, expected {file.sha256[:12]}…; delete the damaged file"
        raise WeightsError(msg)
    return found


def missing(
    name: str, files: Sequence[WeightsFile], choice: str, torch_home: Path, flag: str
) -> str:
    """Return the error message for missing weights."""
    if not files:
        return f"{name}: give its weights with {flag} FILE"
    first = files[0]
    if choice == "download":
        return (
            f"{name}: no digest is known for {first.name}, so it is not downloaded; put "
            f"it at {place(first, torch_home)} by hand, or give {flag} FILE"
        )
    help_text = f", or give {flag} download" if first.sha256 else ""
    return (
        f"{name}: no weights at {place(first, torch_home)}; put {first.name} there"
        f"{help_text}, or {flag} FILE"
    )


def download(target: Path, wanted: WeightsFile) -> None:
    """Fetch the file beside its target, check size and digest, and rename it into place.

    Raises WeightsError in one line when it cannot be fetched or is not the expected file.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    sha = hashlib.sha256()
    try:
        with (
            whole_file(target) as file,
            urllib.request.urlopen(str(wanted.url), timeout=TIMEOUT_SECONDS) as answer,  # noqa: S310  # https, checked
        ):
            while block := answer.read(BLOCK_BYTES):
                sha.update(block)
                file.write(block)
                if wanted.size is not None and file.tell() > wanted.size:
                    break
            if sha.hexdigest() != wanted.sha256:
                msg = (
                    f"{wanted.url}: got {file.tell()} bytes, sha256 {sha.hexdigest()[:12]}…; expected "
                    f"{wanted.size} bytes, sha256 {str(wanted.sha256)[:12]}…; nothing was kept"
                )
                raise WeightsError(msg)
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        msg = (
            f"{wanted.url} cannot be fetched ({error}); put the file at {target} by hand, "
            "or choose another extractor"
        )
        raise WeightsError(msg) from None
