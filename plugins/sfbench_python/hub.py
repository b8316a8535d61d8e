"""A folder saved by huggingface_hub's PyTorchModelHubMixin; its class must be installed."""

from __future__ import annotations

import json
from pathlib import Path

from huggingface_hub import PyTorchModelHubMixin
from torch import nn

from sfbench.api import BuildRequest, GraphGenerator, UsageError, WeightsError
from sfbench.api.errors import first_line
from sfbench.api.regular_files import check_regular
from sfbench_python.code import named
from sfbench_python.modules import of_module

WEIGHTS, CONFIG = "model.safetensors", "config.json"


def hub(request: BuildRequest) -> GraphGenerator:
    """Return the generator of the options `folder` and `class`.

    Raises WeightsError for a folder without safetensors or with weights that do not fit, UsageError
    for a class that is none of huggingface_hub's models.
    """
    folder = Path(str(request.options["folder"]))
    check_folder(folder)
    chosen = named(request, "class")
    where = f"{request.options['class']}"
    fits = isinstance(chosen, type) and issubclass(chosen, PyTorchModelHubMixin)
    if not fits or not issubclass(chosen, nn.Module):
        msg = f"{where}: not a torch module that inherits from huggingface_hub.PyTorchModelHubMixin"
        raise UsageError(msg)
    try:
        module = chosen.from_pretrained(str(folder.resolve()), local_files_only=True, strict=True)
    except Exception as error:  # noqa: BLE001  # of damaged files and odd configs: anything
        msg = f"{folder}: {where} does not load it ({first_line(error)})"
        raise WeightsError(msg) from None
    architecture = {"format": "PyTorchModelHubMixin", "class": where}
    return of_module(module, request, folder.name, architecture)


def check_folder(folder: Path) -> None:
    """Raise WeightsError for a folder without safetensors: pickles are not loaded."""
    try:
        check_regular(folder / WEIGHTS)
        outside = not (folder / WEIGHTS).resolve().is_relative_to(folder.resolve())
        config = folder / CONFIG
        found = json.loads(config.read_text(encoding="utf-8")) if config.exists() else {}
    except FileNotFoundError:
        others = sorted(one.name for one in folder.glob("*.bin"))
        there = f"; {others[0]} is a pickle, and is not loaded" if others else ""
        msg = f"{folder}: has no {WEIGHTS}{there}"
        raise WeightsError(msg) from None
    except (OSError, ValueError, RecursionError) as error:
        msg = f"{folder}: cannot be read ({first_line(error)})"
        raise WeightsError(msg) from None
    if outside or not isinstance(found, dict):
        wrong = f"{WEIGHTS} is a link that leads out of it" if outside else f"{CONFIG} is no object"
        msg = f"{folder}: {wrong}"
        raise WeightsError(msg)
