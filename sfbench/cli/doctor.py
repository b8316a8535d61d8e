"""Behind `sfbench doctor`: what may disturb or limit measurements here."""

from __future__ import annotations

import json
from typing import Any

from sfbench import device
from sfbench.catalogue import Catalogue
from sfbench.cli import defaults
from sfbench.quality.weights import NAME, SHA256, SIZE, file_sha256

BUSY_PERCENT = 10.0


def examined(catalogue: Catalogue, *, as_json: bool) -> str:
    """Return the findings: facts, then what to do about the ones that matter."""
    facts = gathered(catalogue)
    if as_json:
        return json.dumps(facts | {"advice": advice(facts)}, indent=1, sort_keys=True)
    machine = facts["machine"]
    lines = [
        f"machine     {machine['cpu']}, {machine['cpus']} processors, {machine['system']}",
        f"quota       {facts['cpu_quota'] or 'none'} processors by control group",
        f"pressure    {shown(facts['cpu_pressure_percent'], '%')} of the last 10 s waited for a CPU",
        f"host peak   {'can be reset' if facts['host_peak_resettable'] else 'cannot be reset'}",
        f"gpus        {', '.join(gpu['name'] for gpu in facts['gpus']) or 'none'}",
        *(f"  {gpu}" for gpu in facts["gpus"]),
        "versions    " + ", ".join(f"{k} {v or '-'}" for k, v in machine["versions"].items()),
        f"plugins     {len(facts['plugins'])}, broken: {', '.join(facts['broken']) or 'none'}",
        f"inception   {facts['inception']['state']}: {facts['inception']['path']}",
        *(f"! {line}" for line in advice(facts)),
    ]
    return "\n".join(lines)


def shown(value: float | None, unit: str) -> str:
    """Return a number with its unit, or that it is not known."""
    return "unknown" if value is None else f"{value:g} {unit}"


def gathered(catalogue: Catalogue) -> dict[str, Any]:
    """Return the facts."""
    weights = defaults.torch_home() / "hub" / "checkpoints" / NAME
    state = "not there"
    if weights.exists():
        state = "ok" if file_sha256(weights) == SHA256 else "WRONG sha256"
    return {
        "machine": device.machine_class(),
        "cpu_quota": device.cpu_quota(),
        "cpu_pressure_percent": device.pressure(),
        "host_peak_resettable": device.reset_host_peak(),
        "gpus": device.gpus(),
        "plugins": [entry.name for entry in catalogue.plugins],
        "broken": [entry.name for entry in catalogue.plugins if entry.problem],
        "inception": {"path": str(weights), "state": state, "size": SIZE, "sha256": SHA256},
    }


def advice(facts: dict[str, Any]) -> list[str]:
    """Return what to do, a line a finding."""
    lines = []
    waiting = facts["cpu_pressure_percent"]
    if waiting is not None and waiting > BUSY_PERCENT:
        lines.append(f"something else uses the processors ({waiting:g} %): timings will be noisy")
    if not facts["host_peak_resettable"]:
        lines.append("host memory peaks will be null: /proc/self/clear_refs cannot be written")
    for gpu in facts["gpus"]:
        if gpu["throttle_reasons"]:
            lines.append(
                f"{gpu['name']}: clocks are held down (reasons {gpu['throttle_reasons']:#x})"
            )
        if gpu["other_processes"]:
            lines.append(f"{gpu['name']}: {gpu['other_processes']} other processes use it")
    if facts["inception"]["state"] != "ok":
        lines.append("no usable Inception-v3 weights: quality is fd[...], not FID")
    lines += [f"plugin {name} is broken: see sfbench plugins" for name in facts["broken"]]
    return lines
