"""Behind `sfbench convert WEIGHTS OUT.onnx` or OUT.pt2: a generator as a graph, and its parity."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from sfbench.api import ImageGenerator
from sfbench.api.errors import ContractError, UnsupportedError, UsageError, WeightsError
from sfbench.catalogue.catalogue import Catalogue
from sfbench.catalogue.registry import Plugin, find_generator
from sfbench.cli import defaults
from sfbench.cli.one_case import one_case
from sfbench.generators.loading import load_plugins
from sfbench.values.case import Request
from sfbench.values.paths import path_of

SIGNED = "range=signed"
"""What generators of torch modules make: images in [-1, 1]."""
RECOGNIZE, WRITE = "sfbench_recognize", "sfbench_write_graph"


def write_graph(source: str, target: Path, request: Request, given: Sequence[str]) -> str:
    """Return a description of the graph that was written, with its parity.

    `source`: a weights file, a training run, the name of shipped weights, or "random". Raises
    WeightsError for weights that do not say their model where the request does not, and
    ContractError for a graph whose images differ: it is removed.
    """
    from sfbench.api.module_generator import ModuleGenerator  # torch comes with what follows

    catalogue = defaults.catalogue(given, [])
    names = catalogue.acting(RECOGNIZE) | catalogue.acting(WRITE)
    plugins = load_plugins(names, given, [])[0]
    asked = completed(source, request, catalogue, plugins)
    case = one_case(asked, catalogue, "convert")
    from sfbench.generators.building import build
    from sfbench.generators.parity import check_parity
    from sfbench.hardware.devices import find_backend
    from sfbench.hardware.policy import set_policy

    owners = load_plugins(catalogue.owners(case.model), given, [])[0]
    _, spec = find_generator(owners, case.model)
    set_policy(find_backend(case.device), case.dtype, case.threads)
    generator = build(spec, case, case.device)
    if not isinstance(generator, ModuleGenerator):
        msg = f"{case.model}: only a torch module can be written as a graph (a ModuleGenerator)"
        raise UnsupportedError(msg)
    try:
        reference = written(generator, target, plugins)
        again = dataclasses.replace(asked, model=reference, option=(), weights="auto")
        spec = find_generator(plugins, reference)[1]

        def loaded(option: tuple[str, ...]) -> ImageGenerator:
            more = dataclasses.replace(again, option=option)
            found = one_case(more, defaults.catalogue(given, []), "convert")
            return build(spec, found, found.device)

        graph, flags = loaded_again(loaded)
        parity = check_parity(graph, generator)
    except BaseException as error:
        # A graph is kept only once its images were compared.
        target.unlink(missing_ok=True)
        if isinstance(error, ContractError):
            msg = f"{target}: not written: {error}"
            raise ContractError(msg) from None
        raise
    return (
        f"{target}: {case.model} at {asked.res} px, {target.stat().st_size:,} bytes, any batch size; "
        f"{parity.images} images differ by at most {parity.difference:.1e} of the largest value; "
        f"measure it with --model {reference}{flags}"
    )


def loaded_again(loaded: Callable[[tuple[str, ...]], ImageGenerator]) -> tuple[ImageGenerator, str]:
    """Return the graph as a generator, and the flags that it takes.

    Where values are not those of images, as with some random weights, their range must be said.
    """
    try:
        return loaded(()), ""
    except ContractError:
        return loaded((SIGNED,)), f" --option {SIGNED}"


def written(generator: object, target: Path, plugins: Sequence[Plugin]) -> str:
    """Return the model that loads the graph, once a plugin has written it."""
    for plugin in plugins:
        found = (
            plugin.write_graph(generator=generator, target=target) if plugin.write_graph else None
        )
        if found:
            return found
    msg = f"{target}: no plugin writes {target.suffix} files"
    raise UsageError(msg)


def completed(
    source: str, request: Request, catalogue: Catalogue, plugins: Sequence[Plugin]
) -> Request:
    """Return the request with its weights, and the model and resolution that they are of."""
    path = path_of(source)
    cards = [card for card in catalogue.checkpoints if card["name"] == source]
    if not path.exists() and cards and cards[0]["file"]:
        return dataclasses.replace(
            request,
            model=request.model or cards[0]["model"],
            res=request.res or str(cards[0]["resolution"]),
            weights=cards[0]["file"],
        )
    if source != "random" and not path.exists():
        there = ", ".join(card["name"] for card in catalogue.checkpoints if card["file"])
        msg = f"{source}: no such file; expected weights, a training run, random, or one of {there}"
        raise WeightsError(msg)
    model, resolution = request.model, request.res
    if path.is_file() and not (model and resolution):
        recognizers = [plugin.recognize for plugin in plugins if plugin.recognize]
        found = next(filter(None, (recognize(source=path) for recognize in recognizers)), None)
        if found:
            model, resolution = model or found[0], resolution or str(found[1])
    if not model or not resolution:
        msg = f"{source}: does not say what model it is of; give --model NAME and --res PIXELS"
        raise UsageError(msg)
    return dataclasses.replace(request, model=model, res=resolution, weights=source)
