"""Small models of every kind that users hold: ONNX files, exported programs, pipelines, functions."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sfbench.api import BuildRequest, GeneratorSpec

SIDE, WIDTH = 16, 12
SHORT = (
    "--blocks",
    "2",
    "--block-seconds",
    "0.01",
    "--latency-calls",
    "3",
    "--warmup-seconds",
    "0.01",
)


class Tiny(nn.Module):
    """z [batch, 12] and perhaps labels [batch, classes] -> images [batch, 3, 16, 16] in [-1, 1]."""

    def __init__(self, classes: int = 0) -> None:
        super().__init__()
        self.z_dim = WIDTH
        torch.manual_seed(3)
        self.layer = nn.Linear(WIDTH + classes, 3 * SIDE * SIDE)

    def forward(self, z: Tensor) -> Tensor:
        """Return the images."""
        return torch.tanh(self.layer(z)).view(-1, 3, SIDE, SIDE)


def onnx_file(path: Path, change: Callable[[Any], None] = lambda _: None, **parts: Any) -> Path:
    """Write the tiny model as ONNX by hand; `change` gets the model before it is written.

    `channels_last`, `scale` and `offset` of the output, `batch` (None: free), `classes`: a second
    input of one-hot labels, `opset`.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    classes, batch = parts.get("classes", 0), parts.get("batch")
    source = np.random.default_rng(1)
    weight = (source.standard_normal((WIDTH + classes, 3 * SIDE * SIDE)) / 3).astype(np.float32)
    shape = [-1, SIDE, SIDE, 3] if parts.get("channels_last") else [-1, 3, SIDE, SIDE]
    tensors = {
        "weight": weight,
        "shape": np.array(shape, np.int64),
        "scale": np.array(parts.get("scale", 1.0), np.float32),
        "offset": np.array(parts.get("offset", 0.0), np.float32),
    }
    size = "batch" if batch is None else batch
    inputs = [helper.make_tensor_value_info("z", TensorProto.FLOAT, [size, WIDTH])]
    nodes = []
    if classes:
        inputs.append(helper.make_tensor_value_info("c", TensorProto.FLOAT, [size, classes]))
        nodes.append(helper.make_node("Concat", ["z", "c"], ["zc"], axis=1))
    nodes += [
        helper.make_node("MatMul", ["zc" if classes else "z", "weight"], ["flat"]),
        helper.make_node("Tanh", ["flat"], ["curved"]),
        helper.make_node("Mul", ["curved", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "offset"], ["moved"]),
        helper.make_node("Reshape", ["moved", "shape"], ["images"]),
    ]
    outputs = [helper.make_tensor_value_info("images", TensorProto.FLOAT, None)]
    graph = helper.make_graph(
        nodes, "tiny", inputs, outputs,
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )  # fmt: skip
    opset = [helper.make_opsetid("", parts.get("opset", 17))]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    change(model)
    path.write_bytes(model.SerializeToString())
    assert onnx
    return path


def exported_file(path: Path, module: nn.Module | None = None) -> Path:
    """Write the tiny model with torch.export, for any batch size."""
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(
        (module or Tiny()).eval(), (torch.zeros(2, WIDTH),), dynamic_shapes={"z": {0: batch}}
    )
    torch.export.save(program, path)
    return path


def tampered(source: Path, target: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """Write a copy of an archive whose members, by name without its root, were changed."""
    with zipfile.ZipFile(source) as archive:
        members = {
            info.filename.partition("/")[2]: archive.read(info) for info in archive.infolist()
        }
    change(members)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(f"tiny/{name}", content)
    return target


def with_program(change: Callable[[Any], None]) -> Callable[[dict[str, bytes]], None]:
    """Return a change of an archive that changes the JSON of its program."""

    def changed(members: dict[str, bytes]) -> None:
        program = json.loads(members["models/model.json"])
        change(program)
        members["models/model.json"] = json.dumps(program).encode()

    return changed


def pipeline_folder(folder: Path, kind: str) -> Path:
    """Save a tiny pipeline of random weights: ddpm, learned, ddim, pndm, cm, ldm, ldm-kl or dit."""
    import diffusers

    torch.manual_seed(0)
    small: dict[str, Any] = {
        "sample_size": 8, "in_channels": 3, "out_channels": 3, "layers_per_block": 1,
        "block_out_channels": (8, 16), "norm_num_groups": 4, "attention_head_dim": 8,
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    }  # fmt: skip
    coder: dict[str, Any] = {
        "in_channels": 3, "out_channels": 3, "layers_per_block": 1, "norm_num_groups": 4,
        "block_out_channels": (8, 8), "sample_size": 16,
        "down_block_types": ("DownEncoderBlock2D", "DownEncoderBlock2D"),
        "up_block_types": ("UpDecoderBlock2D", "UpDecoderBlock2D"),
    }  # fmt: skip
    match kind:
        case "ddpm":
            made = diffusers.DDPMPipeline(diffusers.UNet2DModel(**small), diffusers.DDPMScheduler())
        case "learned":
            scheduler = diffusers.DDPMScheduler(variance_type="learned_range")
            network = diffusers.UNet2DModel(**small | {"out_channels": 6})
            made = diffusers.DDPMPipeline(network, scheduler)
        case "ddim":
            made = diffusers.DDIMPipeline(diffusers.UNet2DModel(**small), diffusers.DDIMScheduler())
        case "pndm":
            made = diffusers.PNDMPipeline(diffusers.UNet2DModel(**small), diffusers.PNDMScheduler())
        case "cm":
            network = diffusers.UNet2DModel(
                **small, num_class_embeds=10, resnet_time_scale_shift="scale_shift"
            )
            made = diffusers.ConsistencyModelPipeline(
                network, diffusers.CMStochasticIterativeScheduler()
            )
        case "ldm":
            vq = diffusers.VQModel(
                **coder, latent_channels=3, num_vq_embeddings=32, scaling_factor=0.5
            )
            made = diffusers.LDMPipeline(
                vq, diffusers.UNet2DModel(**small), diffusers.DDIMScheduler(clip_sample=False)
            )
        case "ldm-kl":
            network = diffusers.UNet2DModel(**small | {"in_channels": 4, "out_channels": 4})
            made = diffusers.LDMPipeline(
                diffusers.AutoencoderKL(**coder, latent_channels=4),
                network,
                diffusers.DDIMScheduler(clip_sample=False),
            )
        case _:
            network = diffusers.DiTTransformer2DModel(
                num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=8,
                num_layers=1, sample_size=8, patch_size=2, num_embeds_ada_norm=1000,
                norm_type="ada_norm_zero", norm_elementwise_affine=False, attention_bias=True,
                activation_fn="gelu-approximate",
            )  # fmt: skip
            made = diffusers.DiTPipeline(
                network,
                diffusers.AutoencoderKL(**coder, latent_channels=4),
                diffusers.DDIMScheduler(clip_sample=False),
            )
    made.save_pretrained(folder)
    return folder


def built(spec: GeneratorSpec, resolution: int = SIDE, **parts: Any) -> Any:
    """Return a generator of a spec, its options as given; `width`, `device`, `dtype` go to the request."""
    given = {name: parts.pop(name) for name in ("width", "device", "dtype") if name in parts}
    options = {option.name: option.default for option in spec.options} | parts
    return spec.build(BuildRequest(resolution=resolution, options=options, **given))


def images_of(generator: Any, seeds: range) -> Tensor:
    """Return images without gradients."""
    with torch.inference_mode():
        images: Tensor = generator.synthesize(generator.draw_latents(seeds))
    return images
