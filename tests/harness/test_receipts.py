from __future__ import annotations

import base64
import dataclasses
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sfbench.quality import receipts
from sfbench.quality.receipts import belongs, fingerprints_of, make_receipt, read_receipt
from sfbench.values.documents import DocumentError
from sfbench.values.records import Reading

Command = Callable[..., subprocess.CompletedProcess[str]]
FAULTS = str(Path(__file__).with_name("misbehaving.py"))
READINGS = [
    Reading(metric="fd[x]", value=3.5, low=3.0, high=4.0, how={"protocol": "sfbench", "n": 3}),
    Reading(metric="is", reason="no"),
]


def images(count: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def prints(count: int, first: int = 0) -> dict[int, bytes]:
    seeds = list(range(first, first + count))
    return dict(zip(seeds, fingerprints_of(seeds, images(count)), strict=True))


@pytest.mark.fast
@pytest.mark.parametrize(("count", "kept"), [(5, 5), (16, 16), (200, 16), (2000, 32), (6401, 101)])
def test_one_image_in_64_is_kept_and_at_least_sixteen(count: int, kept: int) -> None:
    fingerprints = prints(count, first=7)
    receipt = make_receipt(fingerprints, READINGS, "key")
    assert receipt is not None
    again, found = read_receipt(json.loads(json.dumps(receipt)))
    assert again == receipt
    assert len(found) == kept
    assert all(fingerprints[seed] == one for seed, one in found.items())


@pytest.mark.fast
def test_the_values_choose_the_images_and_a_changed_value_does_not_belong() -> None:
    receipt = make_receipt(prints(2000), READINGS, "key")
    assert receipt is not None
    assert belongs(receipt, READINGS, "key")
    assert not belongs(receipt, READINGS, "another")
    more = Reading(metric="fid", value=1.0, how={"protocol": "sfbench"})
    assert not belongs(receipt, [*READINGS, more], "key")
    speed = Reading(metric="throughput.core", value=1.0)
    assert belongs(receipt, [*READINGS, speed], "key")
    for change in ({"value": 3.4}, {"low": 2.0}, {"how": {"protocol": "sfbench", "n": 4}}):
        changed = dataclasses.replace(READINGS[0], **change)  # type: ignore[arg-type]  # any field
        other = make_receipt(prints(2000), [changed], "key")
        assert other is not None
        assert not belongs(receipt, [changed], "key")
        assert read_receipt(other)[1].keys() != read_receipt(receipt)[1].keys()
    assert make_receipt(prints(20), [READINGS[1]], "key") is None
    assert make_receipt({}, READINGS, "key") is None


@pytest.mark.fast
def test_a_fingerprint_tells_equal_from_rounded_from_other_images() -> None:
    x = images(4)
    (kept,) = fingerprints_of([3], x[3:])
    assert receipts.checked(3, kept, kept).equal
    levels = receipts.to_bytes(x[3:]).int()
    nudged = (levels + torch.randint(-1, 2, levels.shape)).clamp(0, 255) / 127.5 - 1
    (rounded,) = fingerprints_of([3], nudged)
    found = receipts.checked(3, kept, rounded)
    assert not found.equal
    assert found.apart <= receipts.SINGLE * receipts.rounding_of("fp32")
    (other,) = fingerprints_of([3], x[2:3])
    assert receipts.checked(3, kept, other).apart > 20


@pytest.mark.fast
def test_sampled_bytes_are_spread_over_the_image() -> None:
    ramp = np.arange(3 * 64 * 64) % 251
    pixels = ramp.astype(np.uint8).reshape(3, 64, 64)
    found = {receipts.fingerprint(seed, pixels)[receipts.DIGEST_BYTES :] for seed in range(50)}
    assert len(found) == 50


@pytest.mark.fast
@pytest.mark.parametrize(
    "change",
    [
        {"fingerprints": "%%%"},
        {"fingerprints": base64.b64encode(b"short").decode()},
        {"images": 1 << 53},
        {"images": -1},
        {"first_seed": "none"},
    ],
)
def test_a_receipt_that_is_none_is_refused_in_one_line(change: dict[str, Any]) -> None:
    receipt = make_receipt(prints(100), READINGS, "key")
    assert receipt is not None
    with pytest.raises(DocumentError, match=r"^[^\n]+$"):
        read_receipt({**receipt, **change})


def test_a_spot_check_accepts_what_was_judged_and_rejects_what_was_changed(
    sfbench: Command, tmp_path: Path
) -> None:
    asked = ("--model", "fault-none", "--res", "16", "--measure", "quality", "--samples", "48")
    assert sfbench("run", *asked, "--plugin", FAULTS).returncode == 0
    (path,) = (tmp_path / "results" / "runs").glob("*.json")
    check = ("--plugin", FAULTS, "--spot-check")
    done = sfbench("replay", str(path), *check, "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(done.stdout)
    assert found["accepted"]
    assert found["drawn"] == found["equal"] == 16
    other = tmp_path / "other.json"
    record = json.loads(path.read_text())

    def rejected(changed: dict[str, Any], word: str) -> None:
        other.write_text(json.dumps(changed))
        refused = sfbench("replay", str(other), *check)
        assert refused.returncode == 1, refused.stderr
        assert refused.stdout.startswith("rejected: ")
        assert word in refused.stdout

    edited = json.loads(json.dumps(record))
    for reading in edited["readings"]:
        if reading["metric"] == "fd[cifar-cnn7]":
            reading["value"] += 1
    rejected(edited, "values")
    for change in ({"seed": 5}, {"samples": 50000}, {"data": None}):
        rejected({**record, "case": {**record["case"], **change}}, "case")
    rejected({**record, "status": "error"}, "status")
    kept = record["provenance"]["receipt"]
    other_seed = {**record["provenance"], "receipt": {**kept, "first_seed": 1}}
    rejected({**record, "provenance": other_seed}, "other seeds")
    data = bytearray(base64.b64decode(kept["fingerprints"]))
    for place in (0, *range(8, 24)):
        data[place] ^= 0x80
    swapped = {**kept, "fingerprints": base64.b64encode(data).decode()}
    rejected({**record, "provenance": {**record["provenance"], "receipt": swapped}}, "1 image")
    del record["provenance"]["receipt"]
    other.write_text(json.dumps(record))
    none = sfbench("replay", str(other), *check)
    assert none.returncode == 2
    assert "has no receipt" in none.stderr
