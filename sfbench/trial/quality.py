"""Steps for quality: metrics on generated and real images, and samples for people to see."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from sfbench.api.errors import SkippedError
from sfbench.api.labels import parse_labels
from sfbench.catalogue.registry import Plugin
from sfbench.generators.loading import load_plugins
from sfbench.store.claims import Claims
from sfbench.trial.state import Trial
from sfbench.values.metric_names import UNREADABLE

if TYPE_CHECKING:
    from sfbench.quality.probe import QualityProbe

SECONDS_BETWEEN_EVENTS = 1.0


def judge_images(trial: Trial) -> None:
    """Compare generated with real images."""
    from sfbench.quality.receipts import make_receipt  # torch comes with it

    probe = probe_of(trial)
    found = list(probe(trial.generator))
    trial.add(*found)
    receipt = make_receipt(probe.fingerprints, found, trial.case.key())
    if receipt is not None:
        trial.provenance["receipt"] = receipt
    if any(sum(reading.how.get("unreadable", ())) for reading in found):
        trial.raise_flags([UNREADABLE])
    if trial.untimed is not None and all(reading.value is None for reading in found):
        raise SkippedError(found[0].reason)


def help_out(trial: Trial) -> None:
    """Compute features for another process that compares the same images."""
    probe_of(trial).help_out(trial.generator)


def probe_of(trial: Trial) -> QualityProbe:
    """Return what compares the images of a trial."""
    import torch

    from sfbench.data.sources import open_dataset  # torch comes with it
    from sfbench.quality.extractors import open_extractor
    from sfbench.quality.probe import QualityProbe

    case = trial.case
    if case.mode.startswith("compile"):
        # The last batch may be smaller than the others: a graph of its own is not an error here.
        torch.compiler.set_stance("default")
    last = 0.0

    def progress(what: str, done: int, total: int) -> None:
        nonlocal last
        if time.perf_counter() - last > SECONDS_BETWEEN_EVENTS or done == total:
            last = time.perf_counter()
            trial.emit({"phase": what, "done": done, "total": total})

    job = trial.job
    return QualityProbe(
        dataset=open_dataset(case.data, case.size),
        extractor=open_extractor(case.extractor, case.device, plugins=extractor_plugins(trial)),
        samples=case.samples,
        seed=case.seed,
        batch=case.batch,
        device=case.device,
        store=Path(job.features),
        progress=progress,
        labels=parse_labels(case.labels),
        claims=None if job.claims is None else Claims(Path(job.claims)),
        shards=None if job.shards is None else Path(job.shards),
        source=case.data,
        influences=None if job.pictures is None else Path(job.pictures),
    )


def extractor_plugins(trial: Trial) -> tuple[Plugin, ...]:
    """Return the plugin that offers the case's extractor; none for a built-in one."""
    job = trial.job
    if job.extractor_plugin is None:
        return ()
    return load_plugins([job.extractor_plugin], job.plugins, job.disabled)[0]
