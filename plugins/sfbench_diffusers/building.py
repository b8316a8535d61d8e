"""From a checked folder to a generator: parts loaded from safetensors, or built on the meta device."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import nn

from sfbench.api import BuildRequest, ImageGenerator, UnsupportedError, WeightsError
from sfbench.api.errors import first_line
from sfbench.api.precision import placed
from sfbench_diffusers.folder import MODELS, PARTS, PipelineFolder, document, read_folder
from sfbench_diffusers.generator import DiffusionGenerator
from sfbench_diffusers.loop import DenoisingLoop
from sfbench_diffusers.schedulers import CLASSES
from sfbench_diffusers.text import text_generator

CONFIG, SCHEDULE = "config.json", "scheduler_config.json"
GUIDANCE = 4.0
"""Of DiTPipeline, where the user does not say."""


def generator(request: BuildRequest) -> ImageGenerator:
    """Return the generator of the option `folder`.

    Raises WeightsError for a folder that is damaged or doubtful, and UnsupportedError for pipelines
    and sizes that it does not make.
    """
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    folder = read_folder(Path(str(request.options["folder"])))
    if folder.is_text:
        return text_generator(folder, request)
    if request.options["prompts"]:
        msg = f"{folder.path.name}: a {folder.pipeline} takes no prompts"
        raise UnsupportedError(msg)
    parts = [part(folder, name, request) for name in PARTS[folder.pipeline]]
    scheduler = scheduler_of(folder, str(request.options["scheduler"]))
    options: Any = request.options
    steps = own_steps(folder.pipeline) if options["steps"] is None else options["steps"]
    loop = DenoisingLoop(scheduler, steps, options["eta"])
    check_steps(loop)
    if not 0 <= options["eta"] <= 1 or (options["eta"] and "eta" not in loop.extra):
        kind = type(scheduler).__name__
        wanted = f"expected 0 to 1, and a scheduler that takes it, not {kind}"
        msg = f"--option eta={options['eta']:g}: {wanted}"
        raise UnsupportedError(msg)
    if options["guidance"] is not None and "transformer" not in PARTS[folder.pipeline]:
        msg = f"--option guidance: a {folder.pipeline} has no class to be guided to"
        raise UnsupportedError(msg)
    guidance = GUIDANCE if options["guidance"] is None else options["guidance"]
    return DiffusionGenerator(
        folder,
        request,
        network=parts[0],
        decoder=parts[1] if len(parts) > 1 else None,
        loop=loop,
        guidance=guidance,
    )


def check_steps(loop: DenoisingLoop) -> None:
    """Raise UnsupportedError for a number of steps that the scheduler does not take."""
    why = "" if loop.steps < 1 else None
    try:
        loop.begin(torch.device("cpu"))
    except Exception as error:  # noqa: BLE001  # schedulers raise anything
        why = f" ({first_line(error)})"
    if why is not None:
        kind = type(loop.scheduler).__name__
        msg = f"--option steps={loop.steps}: {kind} does not take so many{why}"
        raise UnsupportedError(msg)


def own_steps(pipeline: str) -> int:
    """Return the number of steps that a pipeline takes where the user does not say."""
    taken = inspect.signature(getattr(diffusers, pipeline).__call__).parameters
    default = taken["num_inference_steps"].default
    return int(default)


def scheduler_of(folder: PipelineFolder, name: str) -> Any:
    """Return the folder's scheduler, or another one with its noise schedule."""
    library, kind = folder.parts["scheduler"]
    own = getattr(diffusers, kind, None)
    if library != "diffusers" or own is None or not hasattr(own, "set_timesteps"):
        msg = f"{folder.path}: {kind} is no scheduler of this version of diffusers"
        raise UnsupportedError(msg)
    config = document(folder.path, folder.path / "scheduler" / SCHEDULE)
    chosen = own if name == "own" else getattr(diffusers, CLASSES[name])
    try:
        scheduler = chosen.from_config(config)
    except Exception as error:  # noqa: BLE001  # a config may hold anything
        why = f"cannot be made of scheduler/{SCHEDULE} ({first_line(error)})"
        msg = f"{folder.path}: {chosen.__name__} {why}"
        raise WeightsError(msg) from None
    if not hasattr(scheduler, "init_noise_sigma") or not hasattr(scheduler, "scale_model_input"):
        msg = f"{folder.path}: the loop of {kind} is not known here; see --option scheduler="
        raise UnsupportedError(msg)
    return scheduler


def part(folder: PipelineFolder, name: str, request: BuildRequest) -> nn.Module:
    """Return one network in evaluation mode; on the meta device, of its config alone."""
    library, kind = folder.parts[name]
    place = folder.path / name
    config = document(folder.path, place / CONFIG)
    known = MODELS.get(str(config.get("_class_name")))
    if library != "diffusers" or known is None or MODELS.get(kind) != known:
        classes = ", ".join(sorted(set(MODELS.values())))
        named = config.get("_class_name")
        msg = f"{folder.path}: part {name} is a {named!r:.60}; known are {classes}"
        raise UnsupportedError(msg)
    chosen = getattr(diffusers, known)
    device = torch.device(request.device)
    try:
        if device.type == torch.device("meta").type:
            with device:
                made: nn.Module = chosen.from_config(config)
        else:
            made = loaded(chosen, place)
    except WeightsError:
        raise
    except Exception as error:  # noqa: BLE001  # of damaged files and odd configs: anything
        msg = f"{folder.path}: part {name} cannot be loaded ({first_line(error)})"
        raise WeightsError(msg) from None
    return placed(made.eval().requires_grad_(requires_grad=False), request)


def loaded(chosen: Any, place: Path) -> nn.Module:
    """Return a network with its weights; raises WeightsError where some are missing or left over."""
    made, report = chosen.from_pretrained(
        place,
        use_safetensors=True,
        local_files_only=True,
        low_cpu_mem_usage=False,
        output_loading_info=True,
    )
    wrong = [
        f"{kind.replace('_', ' ')}: {min(map(str, found))}"
        for kind, found in report.items()
        if found
    ]
    if wrong:
        msg = f"{place.parent}: the weights of {place.name} do not fit its {CONFIG} ({wrong[0]})"
        raise WeightsError(msg)
    module: nn.Module = made
    return module
