"""The command that makes a row again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from sfbench.plan import flag_text
from sfbench.records import Record

PLAIN = {"batch": 8, "dtype": "fp32", "mode": "eager", "seed": 0}
"""What `sfbench run` does unless told otherwise."""
ALL_MEASURES = ["speed", "memory", "quality"]


def command(record: Record, defaults: Mapping[str, Any]) -> str:
    """Return the `sfbench run` of a record's case; `defaults` are its model's options.

    A file that it used is named as it was called; where it lay is not stored.
    """
    case = record.case
    words = ["sfbench", "run", "--model", case["model"], "--res", str(case["resolution"])]
    for name, plain in PLAIN.items():
        if case[name] != plain:
            words += [f"--{name}", str(case[name])]
    words += ["--device", case["device"], "--threads", str(case["threads"])]
    for name, value in sorted(case["options"].items()):
        if value is not None and value != defaults.get(name):
            words += ["--option", f"{name}={flag_text(value)}"]
    if case["measure"] != ALL_MEASURES:
        words += ["--measure", ",".join(case["measure"])]
    if case["samples"] is not None:
        words += ["--samples", str(case["samples"])]
    kind = case["weights"]["kind"]
    if kind == "file":
        words += ["--weights", case["files"].get("weights", "FILE")]
    elif kind == "random":
        words += ["--weights", "random"]
    if case["data"] is not None and case["data"]["sha256"] is not None:
        words += ["--data", case["files"].get("data", "PATH")]
    return shlex.join(words)
