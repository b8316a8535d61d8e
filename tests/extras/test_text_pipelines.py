"""Text pipelines of diffusers: prompts of a file, called as a whole, equal to the call by hand."""

from __future__ import annotations

import json
import string
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from graph_making import built, images_of

from sfbench.api.errors import UnsupportedError, WeightsError
from sfbench_diffusers import sfbench_generators

transformers = pytest.importorskip("transformers", reason="transformers: nox -s extras has it")
Command = Callable[..., subprocess.CompletedProcess[str]]
(SPEC,) = sfbench_generators()
pytestmark = pytest.mark.filterwarnings("default")
PROMPTS = ["a cat", "two dogs", "the sea"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a Stable Diffusion pipeline of a few thousand weights."""
    place = tmp_path_factory.mktemp("text")
    letters = [*string.ascii_lowercase, *(f"{c}</w>" for c in string.ascii_lowercase)]
    words = {word: i for i, word in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    (place / "vocab.json").write_text(json.dumps(words))
    (place / "merges.txt").write_text("#version: 0.2\n")
    try:
        tokenizer = transformers.CLIPTokenizer(vocab=words, merges=[], model_max_length=77)
    except TypeError:
        files = (str(place / "vocab.json"), str(place / "merges.txt"))
        tokenizer = transformers.CLIPTokenizer(*files, model_max_length=77)
    torch.manual_seed(0)
    count = len(words)
    encoder = transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            vocab_size=count, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
            num_attention_heads=2, max_position_embeddings=77, bos_token_id=count - 2,
            eos_token_id=count - 1, pad_token_id=count - 1,
        )
    )  # fmt: skip
    network = diffusers.UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=1,
        block_out_channels=(16, 16), norm_num_groups=8, cross_attention_dim=16, attention_head_dim=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    vae = diffusers.AutoencoderKL(
        in_channels=3, out_channels=3, block_out_channels=(16, 16), layers_per_block=1,
        latent_channels=4, norm_num_groups=8, sample_size=16,
        down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
        up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
    )  # fmt: skip
    made = diffusers.StableDiffusionPipeline(
        vae=vae, text_encoder=encoder, tokenizer=tokenizer, unet=network,
        scheduler=diffusers.DDIMScheduler(clip_sample=False, steps_offset=1),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    made.save_pretrained(place / "sd")
    (place / "prompts.txt").write_text("\n\n".join(PROMPTS) + "\n")
    return place / "sd"


def made_of(folder: Path, **options: Any) -> Any:
    prompts = str(folder.parent / "prompts.txt")
    return built(SPEC, 16, folder=str(folder), **{"steps": 3, "prompts": prompts} | options)


def test_an_image_is_that_of_the_pipeline_by_hand(folder: Path) -> None:
    made = made_of(folder, guidance=5.0)
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(
        prompt=[PROMPTS[1]], generator=[torch.Generator().manual_seed(4)], num_inference_steps=3,
        guidance_scale=5.0, height=16, width=16, output_type="pt",
    ).images  # fmt: skip
    images = images_of(made, range(4, 5))
    assert torch.equal((images + 1) / 2, expected)
    assert torch.equal(images, images_of(made, range(4, 5)))
    assert torch.allclose(images_of(made, range(3, 6))[1], images[0], atol=1e-4)
    assert made.architecture["prompts"] == 3


def test_scheduler_and_switches_are_taken_or_refused(folder: Path) -> None:
    plain = images_of(made_of(folder), range(2))
    other = made_of(folder, scheduler="euler")
    assert other.architecture["scheduler"] == "EulerDiscreteScheduler"
    assert not torch.equal(images_of(other, range(2)), plain)
    sliced = images_of(made_of(folder, vae_slicing=True), range(2))
    assert torch.allclose(sliced, plain, atol=1e-4)
    with pytest.raises(UnsupportedError, match="without it"):
        made_of(folder, eta=0.5)
    with pytest.raises(UnsupportedError, match="needs --option prompts=FILE"):
        made_of(folder, prompts="")
    (folder.parent / "empty.txt").write_text("\n\n")
    with pytest.raises(WeightsError, match="expected 1 to"):
        made_of(folder, prompts=str(folder.parent / "empty.txt"))


def test_other_prompts_are_another_case(sfbench: Command, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "sd").symlink_to(folder)
    asked = (
        "run", "--model", "diffusers:sd", "--option", "prompts=p.txt", "--option", "steps=2",
        "--res", "16", "--measure", "quality", "--samples", "4", "--batch", "2", "--json",
    )  # fmt: skip
    keys = set()
    for text in ("a cat", "a dog", "a cat"):
        (tmp_path / "p.txt").write_text(text)
        done = sfbench(*asked)
        assert done.returncode == 0, done.stderr
        (record,) = json.loads(done.stdout)
        keys.add(record["case_key"])
    assert len(keys) == 2
