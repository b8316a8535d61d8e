"""Text-to-image pipelines: prompts of a file, by calling the pipeline itself."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import Tensor, nn

from sfbench.api import BuildRequest, UnsupportedError, WeightsError
from sfbench.api.errors import first_line
from sfbench.api.precision import INT8
from sfbench_diffusers.decoder_switches import switch_decoder
from sfbench_diffusers.folder import LIBRARY, PipelineFolder
from sfbench_diffusers.schedulers import CLASSES

NEEDED = ("prompt", "generator", "num_inference_steps", "output_type", "height", "width")
MOST_PROMPTS, LONGEST = 1_000_000, 10_000


class TextGenerator:
    """Image i is made of prompt i (beginning anew after the last) and of the generator of seed i.

    The initial noise is drawn inside the call, as it is a part of the pipeline.
    """

    def __init__(self, pipeline: Any, prompts: Sequence[str], request: BuildRequest) -> None:
        options: Any = request.options
        self.pipeline = pipeline
        self.prompts = prompts
        self.resolution = request.resolution
        self.module = nn.ModuleList(
            part for part in pipeline.components.values() if isinstance(part, nn.Module)
        )
        self.settings: dict[str, Any] = {
            "height": request.resolution,
            "width": request.width or request.resolution,
        }
        for name, value in (
            ("num_inference_steps", options["steps"]),
            ("guidance_scale", options["guidance"]),
        ):
            if value is not None:
                self.settings[name] = value
        self.architecture = {
            "format": f"diffusers {type(pipeline).__name__}",
            "scheduler": type(pipeline.scheduler).__name__,
            "prompts": len(prompts),
            "initial noise": "drawn inside the call",
            **self.settings,
        }

    def draw_latents(self, seeds: Sequence[int]) -> list[int]:
        """Return the seeds: prompts and generators are made of them in the call."""
        return list(seeds)

    def synthesize(self, latents: list[int]) -> Tensor:
        """Return images [batch, 3, height, width] in [-1, 1]."""
        found = self.pipeline(
            prompt=[self.prompts[seed % len(self.prompts)] for seed in latents],
            generator=[torch.Generator().manual_seed(seed) for seed in latents],
            output_type="pt",
            **self.settings,
        ).images
        images: Tensor = found
        return images * 2 - 1


def text_generator(folder: PipelineFolder, request: BuildRequest) -> TextGenerator:
    """Return the generator of a text pipeline.

    Raises UnsupportedError for a pipeline that does not take prompts and generators, or without
    prompts.
    """
    chosen = getattr(diffusers, folder.pipeline, None)
    is_pipeline = isinstance(chosen, type) and issubclass(chosen, diffusers.DiffusionPipeline)
    taken = inspect.signature(chosen.__call__).parameters if is_pipeline and chosen else {}
    if any(name not in taken for name in NEEDED):
        msg = (
            f"{folder.path}: {folder.pipeline} is not known here; known are unconditional, latent, "
            "DiT and consistency pipelines, and those of prompts"
        )
        raise UnsupportedError(msg)
    if not request.options["prompts"]:
        msg = f"{folder.path.name}: a {folder.pipeline} needs --option prompts=FILE, one a line"
        raise UnsupportedError(msg)
    if request.device == "meta":
        msg = "a text pipeline is called as a whole, which torch cannot do on the meta device"
        raise UnsupportedError(msg)
    own = [kind for library, kind in folder.parts.values() if library == LIBRARY]
    strange = [kind for kind in own if not hasattr(diffusers, kind)]
    if strange:
        msg = f"{folder.path}: {strange[0]} is not in this version of diffusers"
        raise UnsupportedError(msg)
    try:
        load: Any = diffusers.DiffusionPipeline.from_pretrained
        pipeline = load(
            folder.path, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False
        )
    except Exception as error:  # noqa: BLE001  # of damaged files and odd configs: anything
        msg = f"{folder.path}: diffusers does not load it ({first_line(error)})"
        raise WeightsError(msg) from None
    if request.dtype == INT8:
        msg = "int8 is for the parts of other pipelines; a text pipeline is called as a whole"
        raise UnsupportedError(msg)
    pipeline.to(request.device, getattr(torch, request.dtype))
    pipeline.set_progress_bar_config(disable=True)
    adapt(pipeline, folder, request)
    return TextGenerator(pipeline, prompts_of(Path(str(request.options["prompts"]))), request)


def adapt(pipeline: Any, folder: PipelineFolder, request: BuildRequest) -> None:
    """Give the pipeline the scheduler and switches asked for; raises UnsupportedError without them."""
    options: Any = request.options
    if options["scheduler"] != "own":
        chosen = getattr(diffusers, CLASSES[options["scheduler"]])
        pipeline.scheduler = chosen.from_config(pipeline.scheduler.config)
    if options["eta"]:
        msg = f"--option eta: a {folder.pipeline} is called as a whole, without it"
        raise UnsupportedError(msg)
    switch_decoder(getattr(pipeline, "vae", None), options)


def prompts_of(path: Path) -> list[str]:
    """Return the lines of a text file that are not empty; raises WeightsError for none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot be read as text ({first_line(error)})"
        raise WeightsError(msg) from None
    found = [line.strip() for line in lines if line.strip()]
    if not found or len(found) > MOST_PROMPTS or max(map(len, found)) > LONGEST:
        msg = f"{path}: expected 1 to {MOST_PROMPTS:,} prompts of at most {LONGEST:,} characters"
        raise WeightsError(msg)
    return found
