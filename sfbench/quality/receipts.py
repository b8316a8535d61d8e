"""Receipts: fingerprints of some images of an evaluation, by which others check it in seconds.

Every image is fingerprinted while it is judged. Which fingerprints a record keeps is decided by the
values that were measured of all images: nobody knows before which images will be asked for.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from sfbench.values.documents import DocumentError, as_document
from sfbench.values.pixels import to_bytes
from sfbench.values.records import Count, Reading, digest

EVERY = 64
"""One of so many images is kept."""
LEAST = 16
"""So many are kept of small sets."""
DIGEST_BYTES = 8
SAMPLED_BYTES = 16
WIDTH = DIGEST_BYTES + SAMPLED_BYTES
ROUNDING = 0.25
"""Root mean square difference, of 255 levels, that other kernels may make in single precision."""
HALF_ROUNDING = 2.0
"""The same with half precision or integers."""
PROTOCOL = "protocol"
"""What every reading of images says of how it was made, and no other."""
SINGLE = 4
"""So much more of one image."""

Fingerprints = NDArray[np.uint8]
"""[images, 24]: 8 bytes of the SHA-256 of an image's bytes, and 16 of these bytes."""


class Receipt(TypedDict):
    """What a record keeps: how many images, from which seed, chosen by what, and their fingerprints."""

    images: Count
    first_seed: Count
    chosen_by: str
    fingerprints: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One image drawn again: whether it is equal to the byte, and else how far its bytes are apart.

    `apart`: root mean square difference of the sampled bytes, in levels of 255.
    """

    seed: int
    equal: bool
    apart: float


def fingerprints_of(
    seeds: Sequence[int], images: Float[Tensor, "batch channels height width"]
) -> list[bytes]:
    """Return the fingerprints of images in [-1, 1], rounded to bytes, of these seeds."""
    pixels = to_bytes(images).cpu().numpy()
    return [fingerprint(seed, one) for seed, one in zip(seeds, pixels, strict=True)]


def fingerprint(seed: int, pixels: NDArray[np.uint8]) -> bytes:
    """Return the fingerprint of 8-bit pixels; where they are sampled depends on the seed alone."""
    flat = pixels.reshape(-1)
    numbers = np.frombuffer(hashlib.sha512(str(seed).encode()).digest(), "<u4")
    places = numbers[:SAMPLED_BYTES] % len(flat)
    sampled: bytes = flat[places].tobytes()
    return hashlib.sha256(flat.tobytes()).digest()[:DIGEST_BYTES] + sampled


def make_receipt(
    fingerprints: Mapping[int, bytes], readings: Sequence[Reading], case_key: str
) -> Receipt | None:
    """Return the receipt of an evaluation of consecutive seeds; None where nothing was measured."""
    values = measured(readings)
    seeds = sorted(fingerprints)
    if not values or not seeds or seeds != list(range(seeds[0], seeds[0] + len(seeds))):
        return None
    challenge = challenge_of(case_key, values)
    chosen = chosen_seeds(challenge, seeds[0], len(seeds))
    return Receipt(
        images=len(seeds),
        first_seed=seeds[0],
        chosen_by=challenge,
        fingerprints=base64.b64encode(b"".join(map(fingerprints.__getitem__, chosen))).decode(),
    )


def chosen_seeds(challenge: str, first: int, images: int) -> list[int]:
    """Return the seeds that a challenge chooses: those of the least hashes, in order."""
    hashes = [
        (hashlib.sha256(f"{challenge} {seed}".encode()).digest(), seed)
        for seed in range(first, first + images)
    ]
    return sorted(seed for _, seed in sorted(hashes)[: kept_of(images)])


def kept_of(images: int) -> int:
    """Return of how many images a record keeps fingerprints."""
    return min(images, max(-(-images // EVERY), LEAST))


def read_receipt(found: object) -> tuple[Receipt, dict[int, bytes]]:
    """Return a receipt, and its fingerprints by seed; raises DocumentError for anything else."""
    receipt = as_document(found, Receipt)
    count = kept_of(receipt["images"])
    try:
        data = base64.b64decode(receipt["fingerprints"], validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if len(data) != count * WIDTH:
        msg = f"receipt: expected {count} fingerprints of {WIDTH} bytes, found {len(data)} bytes"
        raise DocumentError(msg)
    seeds = chosen_seeds(receipt["chosen_by"], receipt["first_seed"], receipt["images"])
    parts = (data[start : start + WIDTH] for start in range(0, len(data), WIDTH))
    return receipt, dict(zip(seeds, parts, strict=True))


def belongs(receipt: Receipt, readings: Sequence[Reading], case_key: str) -> bool:
    """Return whether a receipt was made for all that these readings say, of this case."""
    return receipt["chosen_by"] == challenge_of(case_key, measured(readings))


def measured(readings: Sequence[Reading]) -> dict[str, Any]:
    """Return the values of images that were measured: intervals, and how each was made."""
    return {
        one.metric: [one.value, one.low, one.high, one.how]
        for one in readings
        if one.value is not None and PROTOCOL in one.how
    }


def challenge_of(case_key: str, values: Mapping[str, Any]) -> str:
    """Return what chooses images: the digest of a case and its values."""
    return digest([case_key, values])


def checked(seed: int, kept: bytes, again: bytes) -> Checked:
    """Return how an image that was drawn again differs from the one that was judged."""
    then, now = (
        np.frombuffer(one[DIGEST_BYTES:], np.uint8).astype(np.float64) for one in (kept, again)
    )
    apart = float(np.sqrt(np.mean((then - now) ** 2)))
    return Checked(seed=seed, equal=kept[:DIGEST_BYTES] == again[:DIGEST_BYTES], apart=apart)


def rounding_of(dtype: str) -> float:
    """Return how far images may be apart in that precision, in levels of 255."""
    return ROUNDING if dtype == "fp32" else HALF_ROUNDING


def apart_of(found: Sequence[Checked]) -> float:
    """Return the root mean square difference of the sampled bytes of all images."""
    return math.sqrt(sum(one.apart**2 for one in found) / max(len(found), 1))


def as_rows(fingerprints: Sequence[bytes]) -> Fingerprints:
    """Return fingerprints as an array [images, 24]."""
    return np.frombuffer(b"".join(fingerprints), np.uint8).reshape(-1, WIDTH)
