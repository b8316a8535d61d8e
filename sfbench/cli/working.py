"""Behind `sfbench work`: carry a plan out, beside others who do the same."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sfbench.api.errors import UsageError
from sfbench.cli import defaults, measuring, spreading
from sfbench.cli.exits import Exit
from sfbench.cli.measuring import Done, Settings
from sfbench.hardware.devices import AUTO, places
from sfbench.run.grid import make_plan
from sfbench.run.plan_file import PlanDocument, check_cases, name_of, read_plan, requests_of
from sfbench.store.runs import Store
from sfbench.values.case import Request
from sfbench.values.job import Launcher
from sfbench.values.messages import counted
from sfbench.values.records import FINAL


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How much one worker does: `most` trials, and no new one after `seconds`."""

    most: int | None = None
    seconds: float | None = None

    def flags(self) -> list[str]:
        """Return the flags of `sfbench work` that say so."""
        given = {"--limit": self.most, "--max-seconds": self.seconds}
        return [word for name, n in given.items() if n is not None for word in (name, f"{n:g}")]


def work(
    plan: Path, store: Path, device: str, share: Share, launcher: Launcher, *, trusted: bool
) -> Exit:
    """Measure what a plan lacks, trial after trial; 0 when nothing is left and nothing failed.

    Raises DataError before anything is measured if the plan's files have another content here.
    """
    document = read_plan(plan)
    if (document["trust"] or document["plugins"]) and not trusted:
        named = ", ".join(document["plugins"]) or "its models"
        msg = f"--plan {plan}: runs code ({named}); give --trust if you know it"
        raise UsageError(msg)
    asked = [dataclasses.replace(one, trust=trusted) for one in requests_of(document, plan)]
    store, plan = store.absolute(), plan.absolute()
    folder = Path(document["folder"])
    if folder.is_absolute() and folder.is_dir():
        os.chdir(folder)
    settings = Settings(
        store=store,
        launcher=launcher,
        plugins=tuple(document["plugins"]),
        disabled=tuple(document["disabled"]),
        trials=document["trials"],
        timeout_seconds=document["timeout_seconds"],
        as_json=False,
    )
    found = [] if device == AUTO else places(device)
    if len(found) > 1:
        return spreading.by_workers(document, plan, found, settings, share.flags())
    done = carried_out(document, plan, on_device(asked, device, plan), settings, share)
    if done is None:
        return Exit.INTERRUPTED
    failed = sum(one.status not in FINAL for one in done.records) + len(done.untrained)
    if done.left or failed:
        left = counted(done.left, "trial")
        print(f"{left} left, {failed} failed: the same command tries them again", file=sys.stderr)
    return Exit.SOME_FAILED if done.left or failed else Exit.OK


def on_device(asked: Sequence[Request], device: str, plan: Path) -> list[Request]:
    """Return a plan's requests with the worker's device; raises UsageError for another kind."""
    if device == AUTO:
        return [measuring.on_device(request) for request in asked]
    kind = places(device)[0].kind
    for request in asked:
        if request.device not in {AUTO, kind}:
            msg = f"--device {device}: --plan {plan} asks for {request.device}"
            raise UsageError(msg)
    return [dataclasses.replace(request, device=device) for request in asked]


def carried_out(
    document: PlanDocument, path: Path, asked: Sequence[Request], settings: Settings, share: Share
) -> Done | None:
    """Return the plan's records, as far as there are any; None when interrupted."""
    catalogue = defaults.catalogue(settings.plugins, settings.disabled)
    requests, found = measuring.placed(asked)
    plan = make_plan(
        requests,
        catalogue,
        torch_home=defaults.torch_home(),
        trials=settings.trials,
        timeout_seconds=settings.timeout_seconds,
    )
    check_cases(plan, document, path)
    Store(settings.store).prepare()
    measuring.announce_broken(catalogue)
    return measuring.measured(
        plan, catalogue, settings, found,
        name=name_of(document), most=share.most, seconds=share.seconds,
    )  # fmt: skip
