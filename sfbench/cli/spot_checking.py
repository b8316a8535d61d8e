"""Behind `sfbench replay --spot-check`: draw again the images of which a record kept fingerprints."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfbench.api.errors import DataError, UsageError
from sfbench.catalogue.catalogue import Catalogue
from sfbench.catalogue.registry import find_generator
from sfbench.cli.drawn_sides import faults_of
from sfbench.cli.exits import Exit
from sfbench.cli.one_case import one_case
from sfbench.cli.progress import PassProgress
from sfbench.generators.loading import load_plugins
from sfbench.values.case import UNIFORM, Case, Request, key_of
from sfbench.values.documents import DocumentError
from sfbench.values.fields import names
from sfbench.values.messages import counted
from sfbench.values.records import Record

if TYPE_CHECKING:
    from sfbench.api.protocols import Dataset
    from sfbench.quality.receipts import Checked, Receipt

SHOWN = 4
DATA_LABELS = "data"
"""Labels by the classes of the real images: the only ones that need these images."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was found: the images that were drawn again, and why they do not do, if so."""

    images: int
    kept: Sequence[Checked]
    seconds: float
    apart: float | None
    reason: str | None

    @property
    def equal(self) -> int:
        """How many images are equal to the byte."""
        return sum(one.equal for one in self.kept)


def spot_check(
    path: Path,
    stored: Record,
    request: Request,
    catalogue: Catalogue,
    plugins: tuple[str, ...],
    disabled: tuple[str, ...],
    device: str | None,
    *,
    as_json: bool,
) -> Exit:
    """Print whether the images are those of the record; 0 if so, 1 if not."""
    receipt = stored.provenance.get("receipt")
    if receipt is None:
        what = "has no receipt: its quality was not measured, or by an older version"
        msg = f"{path}: {what}; replay it without --spot-check"
        raise UsageError(msg)
    case = case_of(path, stored, request, catalogue, device)
    owners, _ = load_plugins(catalogue.owners(case.model), plugins, disabled)
    _, spec = find_generator(owners, case.model)
    from sfbench.quality import receipts  # torch comes with it
    from sfbench.quality.spot_check import drawn_again

    try:
        about, kept = receipts.read_receipt(receipt)
    except DocumentError as error:
        msg = f"{path}: provenance.receipt: {error}; measure it again"
        raise DataError(msg) from None
    reason = contradiction(stored, about, receipts.belongs)
    if reason is not None:
        found = Verdict(images=about["images"], kept=[], seconds=0.0, apart=None, reason=reason)
        return told(found, as_json=as_json)
    bar = PassProgress(sys.stderr, live=sys.stderr.isatty(), quiet=False)
    began = time.perf_counter()
    drawn: list[Checked] = []
    try:
        with faults_of(case.model, bar):
            for one in drawn_again(spec, case, kept, dataset_of(case, request)):
                drawn.append(one)
                bar("images drawn again", len(drawn), len(kept))
    except KeyboardInterrupt:
        print("interrupted: nothing was checked", file=sys.stderr)
        return Exit.INTERRUPTED
    found = Verdict(
        images=about["images"],
        kept=drawn,
        seconds=time.perf_counter() - began,
        apart=receipts.apart_of(drawn),
        reason=differing(drawn, receipts.apart_of(drawn), receipts.rounding_of(case.dtype)),
    )
    return told(found, as_json=as_json)


def contradiction(stored: Record, about: Receipt, belongs: Callable[..., bool]) -> str | None:
    """Return what of a record cannot be, whatever its images are; None if nothing is wrong."""
    if stored.status != "ok":
        return f"its status is {stored.status}"
    if key_of(stored.case) != stored.case_key:
        return "its case is not the one that its key stands for"
    if not belongs(about, stored.readings, stored.case_key):
        return "its values are not those for which these images were chosen"
    if about["first_seed"] != stored.case["seed"] or about["images"] != stored.case.get("samples"):
        return "its receipt is of other seeds, or of another number of images"
    return None


def case_of(
    path: Path, stored: Record, request: Request, catalogue: Catalogue, device: str | None
) -> Case:
    """Return the case whose images are drawn; raises UsageError where it is not the record's."""
    request = dataclasses.replace(request, measure="speed", batch=str(stored.case["batch"]))
    if device is not None:
        request = dataclasses.replace(request, device=device, mode="eager")
    case = one_case(request, catalogue, "replay --spot-check")
    case = dataclasses.replace(
        case, model=stored.case["model"], labels=stored.case.get("labels", UNIFORM)
    )
    changeable = set() if device is None else {"device", "mode"}
    here = case.inputs()
    different = [
        name
        for name in names(Case, "images")
        if name not in changeable and here.get(name) != stored.case.get(name)
    ]
    if different:
        msg = (
            f"{path}: its images cannot be drawn again: {', '.join(different)} differ; give the "
            "files whose sha256 the record contains with --weights or --option"
        )
        raise UsageError(msg)
    return case


def dataset_of(case: Case, request: Request) -> Dataset | None:
    """Return the real images, where labels follow their classes."""
    if case.labels != DATA_LABELS:
        return None
    from sfbench.data.sources import open_dataset, opened  # torch comes with it

    source, container = opened(request.data)
    return open_dataset(source, case.size, container)


def differing(drawn: Sequence[Checked], whole: float, limit: float) -> str | None:
    """Return which images differ by more than rounding, and by how much; None if none does."""
    from sfbench.quality.receipts import SINGLE

    beyond = [one for one in drawn if one.apart > SINGLE * limit]
    if not beyond and whole <= limit:
        return None
    apart = beyond or [one for one in drawn if not one.equal]
    seeds = ", ".join(str(one.seed) for one in apart[:SHOWN])
    more = f" and {len(apart) - SHOWN} more" if len(apart) > SHOWN else ""
    return (
        f"{counted(len(apart), 'image')} differ (seed {seeds}{more}); all are {whole:.3g} of 255 "
        f"levels apart, root mean square, the worst {max(one.apart for one in apart):.3g}; "
        f"rounding makes at most {limit:g} and {SINGLE * limit:g}"
    )


def told(found: Verdict, *, as_json: bool) -> Exit:
    """Print the verdict; return the exit status."""
    if as_json:
        print(json.dumps(document(found), indent=1))
    else:
        print(sentence(found))
    return Exit.OK if found.reason is None else Exit.SOME_FAILED


def sentence(found: Verdict) -> str:
    """Return the verdict in words."""
    rounded = len(found.kept) - found.equal
    what = f"{len(found.kept)} of {counted(found.images, 'image')} drawn again in {found.seconds:.1f} s"
    if found.reason is not None:
        return f"rejected: {found.reason}" + (f"; {what}" if found.kept else "")
    alike = f", {rounded} but for rounding" if rounded else ""
    return f"accepted: {what}: {found.equal} equal to the byte{alike}"


def document(found: Verdict) -> dict[str, Any]:
    """Return the verdict as JSON."""
    return {
        "accepted": found.reason is None,
        "reason": found.reason,
        "images": found.images,
        "drawn": len(found.kept),
        "equal": found.equal,
        "apart": found.apart,
        "seconds": found.seconds,
        "different": [dataclasses.asdict(one) for one in found.kept if not one.equal],
    }
