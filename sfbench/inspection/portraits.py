"""Fills the album of a case: builds its generator and draws every kind of picture of it."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sfbench.api.spec import GeneratorSpec
from sfbench.catalogue.registry import Plugin
from sfbench.data.sources import open_dataset
from sfbench.generators.building import build
from sfbench.hardware.devices import find_backend
from sfbench.hardware.policy import set_policy
from sfbench.inspection.neighbor_picture import neighbors
from sfbench.inspection.portrait import keep, portray
from sfbench.quality.extractors import open_extractor
from sfbench.quality.features import Progress
from sfbench.quality.probe import QualityProbe
from sfbench.store import album
from sfbench.values.case import Case
from sfbench.values.job import case_document


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sitting:
    """What to draw, with which seeds, and where the pictures are stored.

    `real`: whether to show nearest real images of the case's data.
    """

    spec: GeneratorSpec
    case: Case
    plugins: Sequence[Plugin]
    store: Path
    features: Path
    seeds: Sequence[int]
    real: bool
    how: Mapping[str, Any]


def portraits(sitting: Sitting, progress: Progress) -> Iterator[tuple[str, Path | str]]:
    """Draw and store each kind of picture; yield it with its file, or why there is none."""
    case = sitting.case
    set_policy(find_backend(case.device), case.dtype, case.threads)
    generator = build(sitting.spec, case, case.device)
    folder = album.place(sitting.store, case.inputs())
    how = {**sitting.how, "seeds": list(sitting.seeds), "dtype": case.dtype, "device": case.device}
    yield from portray(generator, folder, case.inputs(), sitting.seeds, how)
    if not sitting.real:
        yield "neighbors", "no real images were given (--data)"
        return
    probe = QualityProbe(
        dataset=open_dataset(case.data, case.size),
        extractor=open_extractor(case.extractor, case.device, plugins=sitting.plugins),
        samples=case.samples,
        seed=case.seed,
        batch=case.batch,
        device=case.device,
        store=sitting.features,
        progress=progress,
    )
    with tempfile.TemporaryDirectory(prefix="sfbench-features-") as temporary:
        picture = neighbors(probe.comparison(generator, Path(temporary)))
    how |= {"data": case_document(case)["data"], "samples": case.samples}
    yield "neighbors", keep(picture, "neighbors", folder, case.inputs(), how)
