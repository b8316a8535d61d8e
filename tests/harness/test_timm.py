from __future__ import annotations

import sys
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor

from sfbench.api import ExtractorRequest, UsageError, WeightsError, WeightsFile
from sfbench.testing import check_extractor

sys.path.insert(0, str(Path(__file__).parents[2] / "plugins"))
from sfbench_timm import models as built
from sfbench_timm import sfbench_extractors

SMALL = "vit_small_patch14_dinov2.lvd142m"
CLIP = "vit_base_patch32_clip_quickgelu_224.openai"


def saved(state: dict[str, Tensor], path: Path) -> ExtractorRequest:
    torch.save(state, path)
    return ExtractorRequest(weights=path, sha256="a" * 64, variant=path.stem)


def random_state(name: str, **arguments: object) -> dict[str, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = timm.create_model(name, pretrained=False, **arguments)
        source = torch.Generator().manual_seed(1)
        state = model.state_dict()
        for key, tensor in state.items():
            if key.endswith("gamma"):
                tensor.fill_(1.0)
            elif tensor.is_floating_point() and tensor.ndim > 1:
                tensor.normal_(0, 0.05, generator=source)
        return state


def images(side: int) -> Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(2)) * 255


def test_dinov2_reads_the_original_file_and_keeps_its_position_grid(tmp_path: Path) -> None:
    state = random_state(SMALL, num_classes=0)
    assert state["pos_embed"].shape == (1, 1 + 37 * 37, 384)
    original = state | {"mask_token": torch.zeros(1, 384)}
    extractor = built.dinov2(saved(original, tmp_path / "d.pth"), SMALL, "dinov2-small")
    assert [result for result in check_extractor(extractor) if not result.passed] == []
    assert (extractor.side, extractor.identity["features"]) == (224, 384)

    positions = state["pos_embed"]
    grid = positions[:, 1:].reshape(1, 37, 37, 384).permute(0, 3, 1, 2)
    factor = 16.1 / 37
    expected = torch.nn.functional.interpolate(
        grid, scale_factor=(factor, factor), mode="bicubic", antialias=False
    )
    found = extractor.model.pos_embed[:, 1:].reshape(1, 16, 16, 384).permute(0, 3, 1, 2)
    assert torch.equal(found, expected)

    antialiased = timm.create_model(SMALL, img_size=224, num_classes=0).eval()
    antialiased.load_state_dict(built.checkpoint_filter_fn(dict(original), antialiased))
    x = images(224)
    with torch.inference_mode():
        theirs = antialiased((x - extractor.mean) / extractor.deviation)
    difference = (extractor(x).pooled - theirs).abs().max() / theirs.abs().max()
    assert difference > 1e-4, "timm's own resampling gives other features"


SWAPS = (
    ("patch_embed.proj", "conv1"),
    ("pos_embed", "positional_embedding"),
    ("blocks.", "transformer.resblocks."),
    ("norm_pre", "ln_pre"),
    ("attn.qkv.", "attn.in_proj_"),
    ("attn.proj", "attn.out_proj"),
    ("mlp.fc1", "mlp.c_fc"),
    ("mlp.fc2", "mlp.c_proj"),
    ("norm1", "ln_1"),
    ("norm2", "ln_2"),
    ("norm.", "ln_post."),
)


def as_published(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a timm CLIP's tensors under the names of the published file."""
    renamed = {}
    for name, tensor in state.items():
        key = name
        for ours, theirs in SWAPS:
            key = key.replace(ours, theirs)
        value = tensor
        if name == "head.weight":
            key, value = "proj", tensor.T
        if name == "head.bias":
            continue
        if name == "cls_token":
            key, value = "class_embedding", tensor[0, 0]
        if name == "pos_embed":
            value = tensor[0]
        renamed[f"visual.{key}"] = value.half()
    return renamed | {"logit_scale": torch.tensor(1.0)}


def test_clip_reads_the_published_names_and_gives_the_projected_embedding(tmp_path: Path) -> None:
    state = {n: t.half().float() for n, t in random_state(CLIP).items()}
    state["head.bias"].zero_()
    extractor = built.clip(saved(as_published(state), tmp_path / "c.pt"), CLIP, "clip-b32")
    assert [result for result in check_extractor(extractor) if not result.passed] == []
    model = timm.create_model(CLIP, pretrained=False).eval()
    model.load_state_dict(state)
    x = images(224)
    with torch.inference_mode():
        expected = model((x - extractor.mean) / extractor.deviation)
    assert expected.shape == (2, 512)
    torch.testing.assert_close(extractor(x).pooled, expected)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "resnet18", "test_efficientnet"])
def test_any_timm_model_by_name_gives_what_lies_before_its_classifier(
    name: str, tmp_path: Path
) -> None:
    extractor = built.by_name(saved(random_state(name), tmp_path / f"{name}.pth"))
    assert [result for result in check_extractor(extractor) if not result.passed] == []
    assert extractor.name == f"timm-{name}-aaaaaaaa"
    assert not extractor.standard


def test_timms_inception_is_never_standard(tmp_path: Path) -> None:
    state = timm.create_model("inception_v3", pretrained=False).state_dict()
    extractor = built.by_name(saved(state, tmp_path / "inception_v3.pth"))
    assert not extractor.standard
    assert extractor.name.startswith("timm-inception_v3-")


def test_an_unknown_model_a_missing_and_a_wrong_file_are_errors_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="timm has no model vit_tine"):
        built.by_name(saved({}, tmp_path / "vit_tine.pth"))
    with pytest.raises(WeightsError, match="needs weights"):
        built.by_name(ExtractorRequest(variant="resnet18"))
    with pytest.raises(WeightsError, match=r"does not fit the model \(Missing key") as caught:
        built.by_name(saved({"x": torch.zeros(1)}, tmp_path / "resnet18.pth"))
    assert "\n" not in str(caught.value)


def test_a_name_of_published_weights_is_for_them_alone(tmp_path: Path) -> None:
    state = {n: t.half().float() for n, t in random_state(CLIP).items()}
    asked = saved(as_published(state), tmp_path / "c.pt")
    published = (WeightsFile(name="c.pt", sha256="a" * 64),)
    assert built.clip(asked, CLIP, "clip-b32", published).name == "clip-b32"
    assert built.clip(asked, CLIP, "clip-b32").name == "clip-b32-aaaaaaaa"


def test_published_files_without_a_digest_are_marked_as_such() -> None:
    offered = {spec.name: spec for spec in sfbench_extractors()}
    assert offered["clip-vitl14-336"].weights[0].sha256
    assert offered["dinov2-vitl14"].weights[0].sha256 is None
