"""Generator weights as files: safetensors with the architecture inside, state dicts, snapshots."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from reference_models import official
from reference_models.biggan import BigGAN
from reference_models.biggan_config import BigGANConfig
from reference_models.biggan_files import completed, config_of, is_biggan
from reference_models.equalized import initialize
from reference_models.gansformer import Gansformer
from reference_models.gansformer_config import BipartiteConfig, GansformerConfig
from reference_models.gansformer_files import gansformer_config, gansformer_state, is_gansformer
from reference_models.snapshots import read_snapshot
from reference_models.style_generator import StyleGenerator
from reference_models.styleformer import Styleformer
from reference_models.styleformer_c import StyleformerC, StyleformerCConfig
from reference_models.styleformer_config import StyleformerConfig
from reference_models.stylegan2 import StyleGAN2, StyleGAN2Config
from reference_models.wrapped_weights import advised, complaint_of, unwrapped
from sfbench.api.pickles import PickleError
from sfbench.api.regular_files import check_regular
from sfbench.api.torch_files import is_torch_file, read_torch_file

Config = StyleformerConfig | StyleformerCConfig | StyleGAN2Config | BigGANConfig | GansformerConfig
KINDS: Mapping[str, tuple[type[Any], type[Any]]] = {
    "styleformer": (StyleformerConfig, Styleformer),
    "styleformer-c": (StyleformerCConfig, StyleformerC),
    "stylegan2": (StyleGAN2Config, StyleGAN2),
    "biggan": (BigGANConfig, BigGAN),
    "gansformer": (GansformerConfig, Gansformer),
}
METADATA_KEY = "sfbench.architecture"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Tensors under our names; `config` is None where the file does not say the architecture.

    `notes`: what was taken off to get them, as trainers wrap state dicts in many ways.
    """

    config: Config | None
    tensors: Mapping[str, Tensor]
    notes: tuple[str, ...] = ()


def read_checkpoint(path: Path) -> Checkpoint:
    """Return the generator weights of a .safetensors, torch state dict or official .pkl file.

    The kind is read off the content, not the name. Nothing in the file is executed.
    Raises ValueError (PickleError for a pickle that asks for more) saying what is wrong.
    """
    if path.is_dir():
        msg = "it is a folder, and not that of a training run; expected a file"
        raise ValueError(msg)
    check_regular(path)
    with path.open("rb") as file:
        head = file.read(64)
    complaint = complaint_of(head)
    if complaint is not None:
        raise ValueError(complaint)
    if head[8:9] == b"{":
        return read_safetensors(path)
    try:
        if is_torch_file(path):
            return read_state_dict(path)
        snapshot = read_snapshot(path) if head[:1] == b"\x80" else None
    except PickleError as error:
        raise ValueError(advised(str(error))) from None
    if snapshot is not None:
        tensors = of_snapshot(snapshot.tensors)
        return Checkpoint(config=snapshot_config(snapshot.arguments, tensors), tensors=tensors)
    msg = (
        "unknown or damaged; expected a .safetensors file, a torch state dict or an official .pkl "
        "snapshot"
    )
    raise ValueError(msg)


def read_safetensors(path: Path) -> Checkpoint:
    """Return the tensors and architecture of a file that `write_checkpoint` made."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no dict
    except safetensors.SafetensorError as error:
        msg = f"it is not a readable safetensors file ({error})"
        raise ValueError(msg) from None
    text = metadata.get(METADATA_KEY)
    if text is not None:
        return Checkpoint(config=config_from_json(text), tensors=tensors)
    return of_names(*unwrapped(tensors))


def read_state_dict(path: Path) -> Checkpoint:
    """Return the tensors of a torch state dict; its pickle is parsed as data."""
    return of_names(*unwrapped(read_torch_file(path)))


def of_names(tensors: Mapping[str, Tensor], notes: tuple[str, ...]) -> Checkpoint:
    """Return the weights of a state dict; of BigGAN its shapes say the architecture."""
    if is_biggan(tensors):
        whole = completed(tensors)
        return Checkpoint(config=config_of(whole), tensors=whole, notes=notes)
    return Checkpoint(config=None, tensors=official.official_state(tensors), notes=notes)


def model_of(path: Path) -> tuple[str, int] | None:
    """Return the model's name and the resolution that a weights file says; None if it does not."""
    try:
        config = read_checkpoint(path).config
    except (ValueError, OSError):
        return None
    if config is None:
        return None
    return model_name(config), config.resolution


def model_name(config: Config) -> str:
    """Return the name of the model that an architecture is of."""
    if isinstance(config, BigGANConfig) and config.deep:
        return "biggan-deep"
    linformer = isinstance(config, StyleformerConfig) and config.linformer
    return f"{kind_of(config)}-linformer" if linformer else kind_of(config)


def holds_another(checkpoint: Checkpoint, wanted: str) -> str:
    """Return what to say of weights that are another family's than wanted."""
    if checkpoint.config is None:
        return (
            f"its tensors have not the names of a {wanted}; expected a state dict of its generator"
        )
    found = model_name(checkpoint.config)
    return f"it holds {found}; measure it with --model {found}"


def of_another_size(found: int, asked: int) -> str:
    """Return what to say of weights that make images of another resolution."""
    return f"it makes {found} px, {asked} px were asked for; use --res {found}"


def of_snapshot(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of an official snapshot under our names."""
    return gansformer_state(tensors) if is_gansformer(tensors) else official.official_state(tensors)


def snapshot_config(arguments: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Config:
    """Return the architecture that an official snapshot was made with."""
    try:
        if is_gansformer(tensors):
            return gansformer_config(arguments)
        if any(name.endswith(".enc.q_weight") for name in tensors):
            start = official.start_resolution(tensors)
            return official.styleformer_config(arguments, start_resolution=start)
        return official.stylegan2_config(arguments)
    except (KeyError, TypeError, AttributeError) as error:
        msg = f"its architecture cannot be read ({type(error).__name__}: {error})"
        raise ValueError(msg) from None


def write_checkpoint(path: Path, module: nn.Module, config: Config) -> None:
    """Write the module's tensors and its architecture as a safetensors file."""
    state = {name: tensor.contiguous() for name, tensor in module.state_dict().items()}
    metadata = {METADATA_KEY: config_to_json(config)}
    safetensors.torch.save_file(state, path, metadata)


def build(config: Config) -> nn.Module:
    """Return an uninitialized generator of that architecture."""
    module: nn.Module = KINDS[kind_of(config)][1](config)
    return module


def built(config: Config) -> nn.Module:
    """Return the generator of an architecture that a file says; raises ValueError if there is none."""
    try:
        return build(config)
    except Exception as error:  # noqa: BLE001  # its sizes may be anything
        msg = f"its architecture cannot be built ({str(error).partition(chr(10))[0]})"
        raise ValueError(msg) from None


def load_generator(
    default: Config, weights: Path | None, seed: int
) -> tuple[StyleGenerator, Config]:
    """Return a generator (and its architecture) with the file's or seeded initial weights.

    A file that says its architecture decides it; `default` serves for one that does not.
    Raises ValueError when the file is of another family or size, or its tensors do not fit.
    """
    if weights is None:
        module = style_generator(build(default))
        initialize(module, torch.Generator().manual_seed(seed))
        return module, default
    checkpoint = read_checkpoint(weights)
    config = checkpoint.config or default
    if kind_of(config) != kind_of(default):
        msg = f"it holds a {kind_of(config)} model, this is {kind_of(default)}"
        raise ValueError(msg)
    if config.resolution != default.resolution:
        raise ValueError(of_another_size(config.resolution, default.resolution))
    module = style_generator(built(config))
    load_tensors(module, checkpoint.tensors)
    module.weights_read = checkpoint.notes
    return module, config


def style_generator(module: nn.Module) -> StyleGenerator:
    """Return a module that has styles; raises ValueError for another one."""
    if not isinstance(module, StyleGenerator):
        msg = f"it holds a {type(module).__name__}, which has no styles"
        raise ValueError(msg)  # noqa: TRY004  # one kind of complaint about files
    return module


def convert(source: Path, target: Path, kinds: Sequence[str]) -> str | None:
    """Write the generator in `source` as safetensors; return what it is, or None for other kinds.

    Raises ValueError for a file that cannot be read or does not say its architecture.
    """
    checkpoint = read_checkpoint(source)
    if checkpoint.config is None:
        msg = "it does not say its architecture: only snapshots and our own files do"
        raise ValueError(msg)
    if kind_of(checkpoint.config) not in kinds:
        return None
    module = built(checkpoint.config)
    load_tensors(module, checkpoint.tensors)
    write_checkpoint(target, module, checkpoint.config)
    side = checkpoint.config.resolution
    return f"{model_name(checkpoint.config)}, {side} px, {len(module.state_dict())} tensors"


def kind_of(config: Config) -> str:
    """Return the name of the architecture's family; BigGAN-deep is one of BigGAN's."""
    return next(kind for kind, (config_type, _) in KINDS.items() if type(config) is config_type)


def config_to_json(config: Config) -> str:
    """Return the architecture as JSON text."""
    return json.dumps({"kind": kind_of(config)} | dataclasses.asdict(config), sort_keys=True)


def config_from_json(text: str) -> Config:
    """Return the architecture that `config_to_json` wrote; raises ValueError for anything else."""
    try:
        fields = json.loads(text)
        config_type = KINDS[fields.pop("kind")][0]
        if "low" in fields:
            fields["low"] = StyleformerConfig(**tuples(fields["low"]))
        for name in ("attention", "mapping_attention"):
            if isinstance(fields.get(name), dict):
                fields[name] = BipartiteConfig(**fields[name])
        config: Config = config_type(**tuples(fields))
    except (TypeError, KeyError, AttributeError, ValueError, RecursionError) as error:
        msg = f"its architecture cannot be read ({type(error).__name__}: {error})"
        raise ValueError(msg) from None
    return config


def tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields with lists as tuples, as frozen configurations hold them."""
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
    }


def load_tensors(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy the tensors into the module; raises ValueError naming the first that does not fit."""
    expected = module.state_dict()
    problems = [f"{name} is missing" for name in expected if name not in tensors]
    problems += [f"{name} is unknown" for name in tensors if name not in expected]
    problems += [
        f"{name} is {tuple(tensors[name].shape)}, the model's is {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    problems += [
        f"{name} holds {tensors[name].dtype}, the model's are {tensor.dtype}"
        for name, tensor in expected.items()
        if name in tensors and tensors[name].is_floating_point() != tensor.is_floating_point()
    ]
    if problems and expected and not expected.keys() & tensors.keys():
        msg = (
            f"none of its {len(tensors)} tensors has a name of this model: it holds "
            f"{', '.join(list(tensors)[:3])}, ...; expected {', '.join(list(expected)[:3])}, ..."
        )
        raise ValueError(msg)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        msg = f"its tensors are not this model's: {problems[0]}{more}"
        raise ValueError(msg)
    broken = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if broken:
        msg = (
            f"{broken[0]} holds NaN or infinite values; the file is damaged or its training diverged: "
            "use an earlier one"
        )
        raise ValueError(msg)
    module.load_state_dict(tensors)
