"""What is asked for, as text: the flags of `sfbench run`, from a command line, a suite or a record.

A suite's keys, the command that a report prints for a row, and the repetition of a record derive
from the fields of `Request`.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from sfbench.api.errors import UsageError
from sfbench.values.plan import flag_text
from sfbench.values.timing import NAMES, Timing, timing_of

MOST_IMAGES = 4096
"""Of one picture."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was asked, as text: from flags or from one [[run]] table of a suite file."""

    model: str
    res: str = "32"
    batch: str = "8"
    dtype: str = "fp32"
    mode: str = "eager"
    device: str = "auto"
    data: str = "shapes"
    measure: str = "speed,memory,quality"
    extractor: str = "auto"
    extractor_weights: str = "auto"
    option: tuple[str, ...] = ()
    weights: str = "auto"
    samples: int | None = None
    seed: int = 0
    threads: int | None = None
    train_kimg: float | None = None
    warmup_seconds: float | None = None
    blocks: int | None = None
    block_seconds: float | None = None
    latency_calls: int | None = None

    def timing(self) -> Timing:
        """Return how long speed is measured; raises UsageError for what is no length or count."""
        return timing_of(**{name: getattr(self, name) for name in NAMES})

    def words(self) -> Iterator[str]:
        """Yield the flags that are not the default, each with its value."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value == field.default:
                continue
            for one in value if isinstance(value, tuple) else (value,):
                yield f"--{field.name.replace('_', '-')}"
                yield flag_text(one)

    def command(self) -> str:
        """Return the command line that asks for this."""
        return shlex.join(["sfbench", "run", *self.words()])


def request_of(case: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> Request:
    """Return the request that asks for a stored case.

    `defaults`: the model's own values of its options, which need not be asked for. A file is named
    as it was called: where it lay is not stored, and older records do not name options' files.
    """
    files = case.get("files", {})
    plain = {"preset": None} if defaults is None else defaults
    options = tuple(
        f"{name}={files.get(f'option.{name}', flag_text(value))}"
        for name, value in sorted(case["options"].items())
        if value is not None and value != plain.get(name)
    )
    rule = case.get("batch_rule", "fixed")  # older records have none
    measure = ",".join(case["measure"])
    return Request(
        model=case["model"],
        res=str(case["resolution"]),
        batch=str(case["batch"]) if rule == "fixed" else rule,
        dtype=case["dtype"],
        mode=case["mode"],
        device=case["device"],
        data=source_text(case.get("data"), files.get("data"), "shapes"),
        measure=measure,
        option=options,
        weights={"random": "random", "shipped": "auto"}.get(
            case["weights"]["kind"], files.get("weights", "auto")
        ),
        samples=case["samples"],
        seed=case["seed"],
        threads=case["threads"],
        extractor=str((case.get("extractor") or {"kind": "auto"})["kind"]),
        extractor_weights=files.get("extractor", "auto"),
        **case.get("timing", {}),
    )


def source_text(source: Mapping[str, Any] | None, file: str | None, built_in: str) -> str:
    """Return the flag that names a source: its file, or what is built in."""
    return built_in if source is None or source.get("sha256") is None else file or built_in


def parse_seeds(text: str) -> list[int]:
    """Return the seeds that "0-15" or "1,5,7" stand for; raises UsageError for anything else."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        ends = [first, last] if dash else [first, first]
        if not all(end.strip().isdecimal() for end in ends) or int(ends[1]) < int(ends[0]):
            msg = f"--seeds {text}: expected whole numbers, e.g. 0-15 or 1,5,7"
            raise UsageError(msg)
        if int(ends[1]) - int(ends[0]) >= MOST_IMAGES:
            msg = f"--seeds {text}: expected at most {MOST_IMAGES} images"
            raise UsageError(msg)
        seeds += range(int(ends[0]), int(ends[1]) + 1)
    return seeds
