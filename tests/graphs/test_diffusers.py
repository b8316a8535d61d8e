"""Pipelines of diffusers: the same images as the pipeline by hand, part by part, and safe folders."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from graph_making import SHORT, built, images_of, pipeline_folder
from torch.utils.flop_counter import FlopCounterMode

from sfbench.api import Conditional, Labels, Staged
from sfbench.api.errors import UnsupportedError, WeightsError
from sfbench.speed.stages import stage_operations
from sfbench_diffusers import SCHEDULERS, sfbench_generators
from sfbench_diffusers.schedulers import CLASSES

Command = Callable[..., subprocess.CompletedProcess[str]]
(SPEC,) = sfbench_generators()
KINDS = ("ddpm", "learned", "ddim", "pndm", "cm", "ldm", "ldm-kl", "dit")
STEPS = {"pndm": 5}
"""Its scheduler takes no fewer."""
SIDES = {"ldm": 16, "ldm-kl": 16, "dit": 16}
pytestmark = pytest.mark.filterwarnings("ignore:.*__array_.*:DeprecationWarning")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("pipelines")
    diffusers.utils.logging.set_verbosity_error()
    return {kind: pipeline_folder(place / kind, kind) for kind in KINDS}


def made_of(folder: Path, kind: str, **options: Any) -> Any:
    parts = {"steps": STEPS.get(kind, 3)} | options
    return built(SPEC, SIDES.get(kind, 8), folder=str(folder), **parts)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *((kind, {}) for kind in KINDS),
        ("ddim", {"eta": 1.0}),
        ("dit", {"guidance": 1.0}),
        ("dit", {"guidance": 2.5}),
    ],
)
def test_an_image_is_that_of_the_pipeline_by_hand_to_the_bit(
    kind: str, options: dict[str, Any], folders: dict[str, Path]
) -> None:
    made = made_of(folders[kind], kind, **options)
    seed = 11
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folders[kind])
    pipeline.set_progress_bar_config(disable=True)
    steps = STEPS.get(kind, 3)
    asked: dict[str, Any] = {"num_inference_steps": steps, "output_type": "np"}
    if "eta" in options:
        asked["eta"] = options["eta"]
    if kind == "dit":
        asked |= {"guidance_scale": options.get("guidance", 4.0)}
    else:
        asked |= {"batch_size": 1}
    if made.classes:
        asked |= {"class_labels": made.draw_latents([seed]).c.tolist()}
    expected = pipeline(generator=[torch.Generator().manual_seed(seed)], **asked).images
    images = images_of(made, range(seed, seed + 1))
    assert torch.equal(images / 2 + 0.5, torch.from_numpy(expected).permute(0, 3, 1, 2))


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_depends_on_its_seed_alone(kind: str, folders: dict[str, Path]) -> None:
    made = made_of(folders[kind], kind)
    together = images_of(made, range(4))
    assert torch.equal(together, images_of(made, range(4)))
    assert torch.allclose(images_of(made, range(2, 3))[0], together[2], atol=1e-4)
    assert not torch.equal(together[0], together[1])
    assert together.abs().max() <= 1


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_runs_and_is_repeatable(name: str, folders: dict[str, Path]) -> None:
    made = made_of(folders["ddpm"], "ddpm", scheduler=name, steps=4)
    assert made.architecture["scheduler"] == CLASSES[name]
    images = images_of(made, range(2))
    assert images.isfinite().all()
    assert torch.equal(images, images_of(made, range(2)))


def test_a_stochastic_scheduler_of_a_latent_pipeline_draws_from_the_seed(
    folders: dict[str, Path],
) -> None:
    made = made_of(folders["ldm"], "ldm", scheduler="ddpm")
    first = images_of(made, range(3))
    torch.manual_seed(77)
    assert torch.allclose(images_of(made, range(1, 2))[0], first[1], atol=1e-4)
    assert made.architecture["stochastic steps"] == "from each image's seed"


def test_parts_and_operations_add_up(folders: dict[str, Path]) -> None:
    found = {}
    for device in ("meta", "cpu"):
        made = built(SPEC, 16, folder=str(folders["dit"]), steps=3, device=device)
        assert isinstance(made, Staged)
        found[device] = stage_operations(made, made.draw_latents([0]))
        assert {s.name: s.calls for s in made.stages(made.draw_latents([0]))} == {
            "denoiser": 3,
            "decoder": 1,
        }
    with FlopCounterMode(display=False) as counter:
        images_of(made, range(1))
    assert found["meta"] == found["cpu"]
    assert counter.get_total_flops() == sum(found["cpu"].values())


def test_labels_of_a_conditional_pipeline_follow_the_rule(folders: dict[str, Path]) -> None:
    made = made_of(folders["cm"], "cm")
    assert isinstance(made, Conditional)
    noise = made.draw_latents(range(20))
    made.use_labels(Labels(rule="balanced"))
    drawn = made.draw_latents(range(20))
    assert torch.equal(drawn.z, noise.z)
    assert drawn.c.tolist() == [*range(10)] * 2
    with pytest.raises(UnsupportedError, match="class 12"):
        made.use_labels(Labels(rule="class", number=12))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"vae_slicing": True}, "has no decoder"),
        ({"steps": 0}, "does not take so many"),
        ({"steps": 100_000}, "does not take so many"),
        ({"steps": 2, "scheduler": "pndm"}, "does not take so many"),
        ({"prompts": "x.txt"}, "takes no prompts"),
        ({"guidance": 7.0}, "has no class to be guided to"),
        ({"eta": 0.5}, "expected 0 to 1, and a scheduler that takes it"),
        ({"eta": 5.0, "scheduler": "ddim"}, "expected 0 to 1"),
    ],
)
def test_options_that_a_pipeline_lacks_are_refused(
    options: dict[str, Any], words: str, folders: dict[str, Path]
) -> None:
    with pytest.raises(UnsupportedError, match=words):
        made_of(folders["ddpm"], "ddpm", **options)
    if "vae_slicing" in options:
        sliced = made_of(folders["ldm-kl"], "ldm-kl", **options)
        plain = made_of(folders["ldm-kl"], "ldm-kl")
        assert torch.allclose(images_of(sliced, range(3)), images_of(plain, range(3)), atol=1e-5)


def test_another_size_names_the_right_one(folders: dict[str, Path]) -> None:
    with pytest.raises(UnsupportedError, match=r"dit makes images of 16x16 px: use --res 16"):
        built(SPEC, 32, folder=str(folders["dit"]))


def rewritten(file: Path, **changes: Any) -> None:
    document = json.loads(file.read_text())
    file.write_text(json.dumps(document | changes))


class Evil:
    """Unpickling it writes a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (Path("sfbench-was-here"), "x"))


def lose(folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()


def pickled(folder: Path) -> None:
    lose(folder)
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps(Evil()))


def custom(folder: Path) -> None:
    rewritten(folder / "model_index.json", unet=["unet", "MyNet"])
    (folder / "unet" / "unet.py").write_text("raise SystemExit")


def code(folder: Path) -> None:
    (folder / "pipeline.py").write_text("raise SystemExit")


def index(name: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        lose(folder)
        file = folder / "unet" / "diffusion_pytorch_model.safetensors.index.json"
        file.write_text(json.dumps({"metadata": {}, "weight_map": {"conv_in.weight": name}}))

    return change


def link(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    shutil.copy(weights, folder.parent / "outside.safetensors")
    weights.unlink()
    weights.symlink_to(folder.parent / "outside.safetensors")


def cut(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-64])


def fewer(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    tensors.pop("conv_in.weight")
    save_file(tensors, weights, {"format": "pt"})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lose, "has no diffusion_pytorch_model.safetensors"),
        (pickled, "diffusion_pytorch_model.bin is a pickle, and is not loaded"),
        (custom, "only classes of diffusers and transformers are loaded"),
        (code, "pipeline.py is code"),
        (index("../../x.safetensors"), "names files other than safetensors beside it"),
        (index("evil.bin"), "names files other than safetensors beside it"),
        (index(7), "names files other than safetensors beside it"),
        (index("none.safetensors"), "which is not there"),
        (link, "a link that leads out of the folder"),
        (cut, "part unet cannot be loaded"),
        (fewer, "missing keys: conv_in.weight"),
        (lambda f: rewritten(f / "model_index.json", _class_name=["a", "b"]), "names no pipeline class"),
        (lambda f: rewritten(f / "model_index.json", _class_name="NoPipeline"), "is not known here"),
        (lambda f: rewritten(f / "model_index.json", unet=[None, None]), "has no unet"),
        (lambda f: (f / "model_index.json").write_text("{"), "expected JSON"),
        (lambda f: (f / "model_index.json").write_text("[]"), "no JSON object"),
        (lambda f: (f / "model_index.json").unlink(), "cannot be read"),
        (lambda f: shutil.rmtree(f / "unet"), "no folder unet"),
        (lambda f: rewritten(f / "unet" / "config.json", _class_name="VQModel"), "part unet is a 'VQModel'"),
        (lambda f: rewritten(f / "unet" / "config.json", auto_map={"x": "y"}), "loads other code"),
        (lambda f: rewritten(f / "unet" / "config.json", quantization_config={}), "loads other code"),
        (lambda f: rewritten(f / "model_index.json", scheduler=["diffusers", "No"]), "is no scheduler"),
    ],
)  # fmt: skip
def test_doubtful_folders_are_refused_in_one_line_and_run_nothing(
    change: Callable[[Path], None],
    words: str,
    folders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = shutil.copytree(folders["ddpm"], tmp_path / "pipe")
    change(folder)
    with pytest.raises((WeightsError, UnsupportedError)) as caught:
        made_of(folder, "ddpm")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "sfbench-was-here").exists()


def test_a_run_measures_parts_and_sweeps_the_steps(
    sfbench: Command, folders: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "pipe").symlink_to(folders["ldm"])
    done = sfbench(
        "run", "--model", "diffusers:pipe", "--sweep", "steps=2:4", "--res", "16", "--batch", "2",
        "--samples", "16", "--json", *SHORT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    records = json.loads(done.stdout)
    assert {record["case"]["options"]["steps"] for record in records} == {2, 4}
    speed = next(r for r in records if "speed" in r["case"]["measure"])
    found = {one["metric"]: one for one in speed["readings"]}
    assert found["stage.seconds[denoiser]"]["value"] > 0
    assert found["stage.memory[decoder]"]["value"] is not None
    steps = speed["case"]["options"]["steps"]
    assert found["stage.seconds[denoiser]"]["how"]["calls_of_a_batch"] == steps
    assert set(found["flops"]["how"]["parts"]) == {"denoiser", "decoder"}
    page = sfbench("report", "--html", "r.html")
    assert page.returncode == 0, page.stderr
    assert "Quality against steps" in (tmp_path / "r.html").read_text()
