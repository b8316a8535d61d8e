"""Behind `sfbench doctor`: what may disturb or limit measurements here."""

from __future__ import annotations

import json
from typing import Any

from sfbench.catalogue.catalogue import Catalogue
from sfbench.cli import defaults
from sfbench.hardware import host
from sfbench.hardware.devices import accelerators
from sfbench.hardware.machine import machine_class
from sfbench.quality.extractors import offers
from sfbench.quality.published import INCEPTION
from sfbench.quality.weights import place
from sfbench.store.content import file_sha256
from sfbench.values.metric import MEBI

BUSY_PERCENT = 10.0


def examined(catalogue: Catalogue, *, as_json: bool) -> str:
    """Return the report: facts, then advice about those that matter."""
    facts = gathered(catalogue)
    if as_json:
        return json.dumps(facts | {"advice": advice(facts)}, indent=1, sort_keys=True)
    machine = facts["machine"]
    processor, count = machine["cpu"], machine["cpus"]
    lines = [
        f"machine     {processor}, {count} processors, {machine['system']}",
        f"quota       {quota(facts['cpu_quota'])}",
        f"pressure    {shown(facts['cpu_pressure_percent'], '%')} of the last 10 s spent waiting",
        f"host peak   {'can be reset' if facts['host_peak_resettable'] else 'cannot be reset'}",
        f"gpus        {', '.join(gpu['name'] for gpu in facts['gpus']) or 'none'}",
        *(f"            {gpu_line(gpu)}" for gpu in facts["gpus"]),
        "versions    " + ", ".join(f"{k} {v or '-'}" for k, v in machine["versions"].items()),
        f"plugins     {len(facts['plugins'])}, broken: {', '.join(facts['broken']) or 'none'}",
        "weights     of extractors, with their expected paths:",
        *(weights_line(row) for row in facts["extractor_weights"]),
        *(f"! {line}" for line in advice(facts)),
    ]
    return "\n".join(lines)


def shown(value: float | None, unit: str) -> str:
    """Return a number with its unit, or "unknown"."""
    return "unknown" if value is None else f"{value:g} {unit}"


def gathered(catalogue: Catalogue) -> dict[str, Any]:
    """Return the facts."""
    return {
        "machine": machine_class(),
        "cpu_quota": host.cpu_quota(),
        "cpu_pressure_percent": host.pressure(),
        "host_peak_resettable": host.reset_host_peak(),
        "gpus": accelerators(),
        "plugins": [entry.name for entry in catalogue.plugins],
        "broken": [entry.name for entry in catalogue.plugins if entry.problem],
        "extractor_weights": extractor_weights(catalogue),
    }


def extractor_weights(catalogue: Catalogue) -> list[dict[str, Any]]:
    """Return one row per published weights file: what it is, its expected path, its state."""
    rows = []
    for offer in offers(catalogue.extractors):
        for file in offer.weights:
            path = place(file, defaults.torch_home())
            state = "missing"
            found = None
            if path.exists():
                found = file_sha256(path)
                state = "ok" if found == file.sha256 else "WRONG sha256"
                if file.sha256 is None:
                    state = "present; no published digest to verify it against"
            rows.append(
                {
                    "extractor": offer.name,
                    "file": file.name,
                    "path": str(path),
                    "state": state,
                    "size": file.size,
                    "sha256": file.sha256,
                    "found_sha256": found,
                    "url": file.url,
                }
            )
    return rows


def weights_line(row: dict[str, Any]) -> str:
    """Return a weights file in two lines."""
    size = f"{row['size']:,} bytes" if row["size"] else "size unknown"
    digest = f"sha256 {row['sha256'][:12]}…" if row["sha256"] else "sha256 unknown"
    return f"  {row['extractor']}: {row['state']} ({size}, {digest})\n    {row['path']}"


def quota(processors: float | None) -> str:
    """Return what the control group allows."""
    if processors is None:
        return "none: every processor may be used"
    return f"{processors:g} processors allowed by the control group"


def gpu_line(gpu: dict[str, Any]) -> str:
    """Return what the driver says of a GPU in one line; what it does not say is left out."""
    numbers = {
        "{:,.0f} MiB": ("memory_bytes", 1 / MEBI),
        "{:,.0f} W at most": ("power_limit_milliwatts", 1 / 1000),
        "{:,.0f} MHz": ("sm_clock_mhz", 1),
    }
    said = [
        words.format(gpu[name] * scale)
        for words, (name, scale) in numbers.items()
        if gpu.get(name) is not None
    ]
    return ", ".join([f"driver {gpu['driver']}", *said])


def advice(facts: dict[str, Any]) -> list[str]:
    """Return advice, one line per finding."""
    lines = []
    waiting = facts["cpu_pressure_percent"]
    if waiting is not None and waiting > BUSY_PERCENT:
        lines.append(f"other programs use the processors ({waiting:g} %): timings will be noisy")
    if not facts["host_peak_resettable"]:
        lines.append("host memory peaks will be null: /proc/self/clear_refs cannot be written")
    for gpu in facts["gpus"]:
        if gpu["held_down"]:
            lines.append(f"{gpu['name']}: clocks are throttled (reasons {gpu['clock_reasons']:#x})")
        if gpu["other_processes"]:
            lines.append(f"{gpu['name']}: {gpu['other_processes']} other processes use it")
    standard = [row for row in facts["extractor_weights"] if row["extractor"] == INCEPTION]
    if not any(row["state"] == "ok" for row in standard):
        lines.append("no usable Inception-v3 weights: quality is fd[...], not FID")
    lines += [f"plugin {name} is broken: see sfbench plugins" for name in facts["broken"]]
    return lines
