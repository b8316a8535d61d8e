"""Claims: who works on what, as files with a lease. They need a shared folder, nothing else.

A claim is a file that only one worker can create (O_EXCL, which holds on NFS, too). Its owner touches
it while it works; a claim that was not touched for the length of a lease is another's to take. Times
are the file system's own: clocks of machines differ. The claim that replaces an expired one is a file
of the next generation, again created exclusively, so that of many who see it expire one takes it.

A claim saves work and decides nothing: that a trial has one record is decided by the record's name,
which can be linked once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Self, TypedDict

from sfbench.api.errors import DataError
from sfbench.hardware.living import is_gone, this_host, this_process
from sfbench.values.documents import read_document

LEASE_SECONDS = 60.0
BEATS = 6
"""How often a claim is touched within its lease."""
PART = "features-"
"""With which the names of claims of parts of an evaluation begin."""
GONE = {errno.ENOENT, errno.ESTALE}
"""Errors of a file that another machine has removed."""


class Owner(TypedDict, total=False):
    """What a claim says of its owner: for people, and to see whether its process is gone.

    `job`: the number that a scheduler gave it. `plan`: the name of the plan it carries out. `began`:
    nanoseconds of the file system's clock.
    """

    host: str
    pid: int
    job: str
    device: str
    plan: str
    what: str
    phase: str
    process: str
    began: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A claim as others see it: its name, its owner, its age, and the time since it was touched."""

    name: str
    owner: Owner
    seconds: float
    idle_seconds: float
    expired: bool
    gone: bool = False
    """Whether its process is known to have ended."""


class Claims:
    """The claims in a folder, for one process; `owner` is written into those that it takes.

    `lease_seconds`: how long a claim holds that nobody touches.
    """

    def __init__(
        self, folder: Path, owner: Owner | None = None, lease_seconds: float = LEASE_SECONDS
    ) -> None:
        self.folder = folder
        mine: Owner = {"host": this_host(), "pid": os.getpid(), "process": this_process()}
        self.owner: Owner = {**mine, **(owner or {})}
        self.lease_seconds = lease_seconds

    def take(self, name: str, what: str = "") -> Claim | None:
        """Return the claim of that name, or None while another holds it.

        What was to be done may be done by now: look again once the claim is taken. Raises DataError
        where claims cannot be written.
        """
        try:
            return self.taken(name, what)
        except OSError as error:
            msg = (
                f"{self.folder}: claims cannot be written there ({error.strerror or error}); who "
                "shares a store needs write permission in all its folders (umask 002)"
            )
            raise DataError(msg) from None

    def taken(self, name: str, what: str) -> Claim | None:
        """Return the claim of that name, or None while another holds it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        before = self.generations(name)
        last = self.seen(self.path(name, before[-1]), self.now) if before else None
        if before and (last is None or not last.expired):
            return None  # one that was given back at this moment is looked for again later
        generation = before[-1] + 1 if before else 0
        path = self.path(name, generation)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            return None
        claim = Claim(self, name, generation, descriptor, {**self.owner, "what": what})
        # Since it was looked at, its owner may have given it back, and another begun anew.
        others = [one for one in self.generations(name) if one != generation]
        if any(one > generation or not self.is_expired(name, one) for one in others):
            claim.drop()
            return None
        return claim

    def generations(self, name: str) -> list[int]:
        """Return the generations of a claim that there are, the last one last."""
        found = (entry.name.rpartition(".") for entry in os.scandir(self.folder))
        return sorted(int(last) for first, _, last in found if first == name and last.isdecimal())

    def is_expired(self, name: str, generation: int) -> bool:
        """Return whether a claim of a generation is there no more, or another's to take."""
        holder = self.seen(self.path(name, generation), self.now)
        return holder is None or holder.expired

    def path(self, name: str, generation: int) -> Path:
        """Return the file of a claim."""
        return self.folder / f"{name}.{generation}"

    def seen(self, path: Path, clock: Callable[[], int]) -> Holder | None:
        """Return a claim as its file shows it now; None where there is none, or it is unreadable."""
        try:
            # Opening it makes a network file system ask its server again.
            with path.open("rb") as file:
                touched = os.fstat(file.fileno()).st_mtime_ns
                text = file.read()
        except OSError as error:
            if error.errno in GONE:
                return None
            raise
        try:
            owner = read_document(text, Owner)
        except ValueError:  # its owner writes at this moment
            owner = Owner()
        now = clock()
        idle = (now - touched) / 1e9
        gone = is_gone(owner.get("process", ""))
        return Holder(
            name=path.name.rpartition(".")[0],
            owner=owner,
            seconds=max(0.0, (now - owner.get("began", touched)) / 1e9),
            idle_seconds=max(0.0, idle),
            expired=gone or idle > self.lease_seconds,
            gone=gone,
        )

    def now(self) -> int:
        """Return the file system's time in nanoseconds; the machine's where nothing can be written."""
        try:
            with tempfile.TemporaryFile(dir=self.folder) as file:
                os.utime(file.fileno())
                return os.fstat(file.fileno()).st_mtime_ns
        except OSError:
            return time.time_ns()

    def holders(self) -> list[Holder]:
        """Return every claim that can be read, one for each name: that of the last generation."""
        last: dict[str, tuple[int, Path]] = {}
        for path in self.files():
            name, _, generation = path.name.rpartition(".")
            last[name] = max(last.get(name, (-1, path)), (int(generation), path))
        clock = functools.cache(self.now)
        found = []
        for _, path in last.values():
            with contextlib.suppress(PermissionError):
                found.append(self.seen(path, clock))
        return [holder for holder in found if holder is not None]

    def sweep(self, names: Collection[str]) -> None:
        """Remove expired claims of these names, and of parts: their work is done, or begun anew."""
        for holder in self.holders():
            if holder.expired and (holder.name in names or holder.name.startswith(PART)):
                claim = self.take(holder.name)
                if claim is not None:
                    claim.release()

    def files(self) -> Iterator[Path]:
        """Yield the files of claims."""
        with contextlib.suppress(FileNotFoundError):
            for path in sorted(self.folder.iterdir()):
                if path.suffix[1:].isdecimal():
                    yield path


class Claim:
    """A claim that is held: a thread touches it until it is released."""

    def __init__(
        self, claims: Claims, name: str, generation: int, descriptor: int, owner: Owner
    ) -> None:
        self.claims = claims
        self.name = name
        self.generation = generation
        self.descriptor = descriptor
        self.owner: Owner = {**owner, "began": os.fstat(descriptor).st_mtime_ns}
        self.ended = threading.Event()
        self.lock = threading.Lock()
        self.thread: threading.Thread | None = None
        self.write()

    def __enter__(self) -> Self:
        """Keep it alive until the end of the block, and release it there."""
        self.thread = threading.Thread(target=self.beat, name="lease", daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Release it."""
        self.release()

    def say(self, phase: str) -> None:
        """Tell others what goes on."""
        if phase != self.owner.get("phase"):
            self.owner["phase"] = phase
            self.write()

    def beat(self) -> None:
        """Touch the file until the end."""
        while not self.ended.wait(self.claims.lease_seconds / BEATS):
            with self.lock, contextlib.suppress(OSError):
                if not self.ended.is_set():
                    os.utime(self.descriptor)

    def write(self) -> None:
        """Write who holds it."""
        text = json.dumps(self.owner).encode()
        with self.lock, contextlib.suppress(OSError):
            if not self.ended.is_set():
                os.pwrite(self.descriptor, text, 0)
                os.ftruncate(self.descriptor, len(text))

    def release(self) -> None:
        """Give it back, with the expired ones that it replaced.

        One that was lost is in nobody's way: what holds is the last generation.
        """
        with contextlib.suppress(FileNotFoundError):
            # Its own last: until then nobody takes what is being given back.
            for generation in self.claims.generations(self.name):
                if generation < self.generation:
                    self.claims.path(self.name, generation).unlink(missing_ok=True)
            own = self.claims.path(self.name, self.generation)
            if os.path.samestat(own.stat(), os.fstat(self.descriptor)):
                own.unlink(missing_ok=True)
        self.close()

    def drop(self) -> None:
        """Give back a claim that was never in force."""
        self.claims.path(self.name, self.generation).unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """End the thread, and let the file go."""
        self.ended.set()
        with self.lock, contextlib.suppress(OSError):  # what was not written yet is lost, too
            os.close(self.descriptor)
        if self.thread is not None:
            self.thread.join()
