"""Images of both sides of a comparison, drawn in this process from the same seeds."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfbench.api.errors import ContractError, SfbenchError, UsageError, first_line
from sfbench.catalogue.catalogue import Catalogue
from sfbench.catalogue.registry import find_generator
from sfbench.cli import defaults
from sfbench.cli.one_case import one_case
from sfbench.cli.progress import PassProgress
from sfbench.cli.sides import TRIALS_TIMEOUT, Asked, side_request
from sfbench.generators.loading import load_plugins
from sfbench.run.grid import make_plan
from sfbench.values.case import Case, Request
from sfbench.values.messages import counted

if TYPE_CHECKING:
    from sfbench.api.spec import GeneratorSpec
    from sfbench.quality.certificate import OpenSide, Side

SAMPLES = 512
"""Images of each side, where the user does not say."""
SHOWN = 64
"""Images of each side that are compared pixel by pixel."""


def side_request_here(text: str, shared: Request) -> Request:
    """Return what a side asks for; raises UsageError for another installation's Python."""
    request, interpreter = side_request(text, dataclasses.replace(shared, measure="quality"))
    if interpreter is not None:
        msg = f"{text}: images of both sides are drawn by this installation; omit python="
        raise UsageError(msg)
    return request


def side_case(text: str, shared: Request, catalogue: Catalogue) -> Case:
    """Return the one case of a side; raises UsageError for several."""
    return one_case(side_request_here(text, shared), catalogue, "certify")


def side_cases(text: str, shared: Request, catalogue: Catalogue) -> tuple[Case, ...]:
    """Return the cases of a side."""
    plan = make_plan(
        [side_request_here(text, shared)],
        catalogue,
        torch_home=defaults.torch_home(),
        trials=1,
        timeout_seconds=TRIALS_TIMEOUT,
    )
    return plan.cases


def drawn(text: str, case: Case, asked: Asked, catalogue: Catalogue) -> Side:
    """Return a side's images and features."""
    from sfbench.quality.certificate import drawn_side  # torch comes with it

    with side_of(text, case, asked, catalogue) as (spec, given):
        return drawn_side(spec, case, shown=SHOWN, **given)


def opened(text: str, case: Case, asked: Asked, catalogue: Catalogue) -> OpenSide:
    """Return a side of which more images can be drawn, up to the case's number."""
    from sfbench.quality.certificate import OpenSide  # torch comes with it

    with side_of(text, case, asked, catalogue) as (spec, given):
        return OpenSide(spec, case, **given)


@contextlib.contextmanager
def side_of(
    text: str, case: Case, asked: Asked, catalogue: Catalogue
) -> Iterator[tuple[GeneratorSpec, dict[str, Any]]]:
    """Yield a side's model, and what its images are drawn and judged with."""
    names = catalogue.owners(case.model, case.extractor.kind)
    plugins, _ = load_plugins(names, asked.plugins, asked.disabled)
    _, spec = find_generator(plugins, case.model)
    from sfbench.quality.extractors import open_extractor  # torch comes with it

    bar = PassProgress(sys.stderr, live=sys.stderr.isatty(), quiet=False)
    print(f"{text}: {counted(case.samples, 'image')}", file=sys.stderr)
    given = {
        "open_extractor": lambda: open_extractor(case.extractor, case.device, plugins=plugins),
        "store": Path(defaults.cache_folder() / "features"),
        "progress": bar,
    }
    with faults_of(case.model, bar):
        yield spec, given


@contextlib.contextmanager
def faults_of(model: str, bar: PassProgress) -> Iterator[None]:
    """Raise what a model's own code raises as an error of one line."""
    try:
        yield
    except SfbenchError:
        raise
    except (Exception, SystemExit) as error:
        # A stranger's code may raise anything; what it raised is its own fault, in one line.
        msg = f"{model}: {type(error).__name__}: {first_line(error)}"
        raise ContractError(msg) from error
    finally:
        bar.clear()
