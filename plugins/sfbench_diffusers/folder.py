"""A pipeline's folder: what it says, and a refusal of whatever could load more than safetensors."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sfbench.api import UnsupportedError, WeightsError
from sfbench.api.errors import first_line
from sfbench.api.regular_files import check_regular

INDEX = "model_index.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"
SHARDS = f"{WEIGHTS}.index.json"
LIBRARY = "diffusers"
LIBRARIES = frozenset({LIBRARY, "transformers"})
PARTS: Mapping[str, tuple[str, ...]] = {
    "ConsistencyModelPipeline": ("unet",),
    "DDIMPipeline": ("unet",),
    "DDPMPipeline": ("unet",),
    "DiTPipeline": ("transformer", "vae"),
    "LDMPipeline": ("unet", "vqvae"),
    "PNDMPipeline": ("unet",),
}
"""Pipelines whose denoising loop is run here: the denoiser, then the decoder of latent ones."""
MODELS: Mapping[str, str] = {
    "AutoencoderKL": "AutoencoderKL",
    "DiTTransformer2DModel": "DiTTransformer2DModel",
    "Transformer2DModel": "DiTTransformer2DModel",
    "UNet2DModel": "UNet2DModel",
    "VQModel": "VQModel",
}
"""Classes of the parts, by the name in their config; one name is an older one."""
PAIR = 2
LARGEST_JSON = 64 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class PipelineFolder:
    """A checked folder: its pipeline's class, and the class of each part."""

    path: Path
    pipeline: str
    parts: Mapping[str, tuple[str, str]]
    version: str

    @property
    def is_text(self) -> bool:
        """Whether images are made from prompts, by calling the pipeline itself."""
        return self.pipeline not in PARTS


def read_folder(path: Path) -> PipelineFolder:
    """Return what a folder says, once nothing in it can run code or lead out of it.

    Raises WeightsError for a damaged or doubtful folder, UnsupportedError for a pipeline with parts
    that are not diffusers' own.
    """
    if not path.is_dir():
        msg = f"{path}: no such folder; expected that of a diffusers pipeline, with {INDEX}"
        raise WeightsError(msg)
    index = document(path, path / INDEX)
    name = index.get("_class_name")
    if not isinstance(name, str) or not name.isidentifier():
        msg = f"{path}: {INDEX} names no pipeline class of diffusers, but {name!r:.60}"
        raise WeightsError(msg)
    parts = {
        key: entry_of(path, key, value)
        for key, value in index.items()
        if not key.startswith("_") and isinstance(value, list) and value != [None, None]
    }
    wanted = {*PARTS.get(name, ()), "scheduler"}
    missing = sorted(wanted - set(parts)) if name in PARTS else []
    if missing:
        msg = f"{path}: {INDEX} of a {name} has no {missing[0]}"
        raise WeightsError(msg)
    for file in sorted(path.rglob("*")):
        check_file(path, file)
    for key, (library, kind) in parts.items():
        check_part(path, key, library, kind)
    return PipelineFolder(path, name, parts, str(index.get("_diffusers_version", "")))


def entry_of(path: Path, key: str, value: list[Any]) -> tuple[str, str]:
    """Return library and class of a part; raises UnsupportedError for another library's."""
    plain = len(value) == PAIR and all(isinstance(word, str) for word in value)
    if not plain or value[0] not in LIBRARIES or not value[1].isidentifier():
        msg = (
            f"{path}: part {key} is {json.dumps(value)[:80]}; only classes of "
            f"{' and '.join(sorted(LIBRARIES))} are loaded, never code of the folder"
        )
        raise UnsupportedError(msg)
    return value[0], value[1]


def check_file(root: Path, file: Path) -> None:
    """Raise WeightsError for a file that leads out of the folder, or is Python code."""
    name = file.relative_to(root)
    try:
        outside = not file.resolve(strict=True).is_relative_to(root.resolve())
        check_regular(file)
    except OSError as error:
        msg = f"{root}: {name}: {first_line(error)}"
        raise WeightsError(msg) from None
    if outside:
        msg = f"{root}: {name} is a link that leads out of the folder"
        raise WeightsError(msg)
    if file.suffix == ".py":
        msg = f"{root}: {name} is code; a pipeline with classes of its own needs a plugin"
        raise WeightsError(msg)


def check_part(root: Path, key: str, library: str, kind: str) -> None:
    """Raise WeightsError for a part without safetensors, or whose index leads elsewhere."""
    folder = root / key
    if not folder.is_dir():
        msg = f"{root}: part {key} is missing: no folder {key}"
        raise WeightsError(msg)
    for file in sorted(folder.glob("*config.json")):
        found = document(root, file)
        strange = {"auto_map", "quantization_config"} & set(found)
        if strange:
            msg = f"{root}: {key}/{file.name} has {min(strange)}, which loads other code"
            raise UnsupportedError(msg)
    for file in sorted(folder.glob("*.index.json")):
        shards = document(root, file).get("weight_map")
        if not isinstance(shards, dict) or not all(map(is_shard, shards.values())):
            msg = f"{root}: {key}/{file.name} names files other than safetensors beside it"
            raise WeightsError(msg)
        lost = sorted(one for one in set(shards.values()) if not (folder / one).is_file())
        if lost:
            msg = f"{root}: {key}/{file.name} names {lost[0]}, which is not there"
            raise WeightsError(msg)
    if library == LIBRARY and kind in MODELS and not has_weights(folder):
        others = sorted(one.name for one in folder.iterdir() if one.suffix in {".bin", ".ckpt"})
        there = f"; {others[0]} is a pickle, and is not loaded" if others else ""
        msg = f"{root}: part {key} has no {WEIGHTS}{there}"
        raise WeightsError(msg)


def is_shard(name: Any) -> bool:
    """Return whether a name is that of a safetensors file in the same folder."""
    return isinstance(name, str) and name.endswith(".safetensors") and Path(name).name == name


def has_weights(folder: Path) -> bool:
    """Return whether a part's folder holds its weights as safetensors."""
    return (folder / WEIGHTS).is_file() or (folder / SHARDS).is_file()


def document(root: Path, file: Path) -> dict[str, Any]:
    """Return a JSON object of the folder; raises WeightsError for anything else."""
    name = file.relative_to(root)
    try:
        check_regular(file)
        if file.stat().st_size > LARGEST_JSON:
            msg = f"{root}: {name} is too large"
            raise WeightsError(msg)
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        msg = f"{root}: {name} cannot be read ({first_line(error)}); expected JSON"
        raise WeightsError(msg) from None
    if not isinstance(found, dict):
        msg = f"{root}: {name} holds no JSON object"
        raise WeightsError(msg)
    return found
