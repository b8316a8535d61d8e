from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torch_fidelity import feature_extractor_inceptionv3 as peer

from sfbench.api.errors import WeightsError
from sfbench.api.spec import ExtractorRequest
from sfbench.api.tensors import read_tensors
from sfbench.quality.inception import LAYERS, InceptionExtractor, PlanarPools, load_network
from sfbench.quality.inception_names import PREFIX, convolutions
from sfbench.quality.published import INCEPTION
from sfbench.quality.resizing import tf1_bilinear
from sfbench.store.content import file_sha256
from sfbench.testing import check_extractor

EXACT, FAST = 1e-6, 1e-4


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    source = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8, generator=source)


def request(path: Path, *, fast: bool = False) -> ExtractorRequest:
    return ExtractorRequest(weights=path, sha256=file_sha256(path), fast=fast)


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found - expected).abs().max() / expected.abs().max()).item()


def test_other_weights_give_an_extractor_with_another_name(inception_weights: Path) -> None:
    asked = request(inception_weights)
    extractor = InceptionExtractor(asked, standard=False)
    assert not extractor.standard
    assert extractor.name == f"inception-v3-{str(asked.sha256)[:8]}"
    assert [result for result in check_extractor(extractor) if not result.passed] == []


def test_features_are_those_of_torch_fidelity(
    inception_weights: Path, images: torch.Tensor
) -> None:
    network = peer.FeatureExtractorInceptionV3(
        "x", LAYERS, feature_extractor_weights_path=str(inception_weights)
    )
    expected, expected_logits = network(images)
    exact = InceptionExtractor(request(inception_weights), standard=False)
    features = exact(tf1_bilinear(images, 299))
    assert features.pooled.shape == (5, 2048)
    assert relative(features.pooled, expected) <= EXACT
    assert features.logits is not None
    assert relative(features.logits, expected_logits) <= EXACT
    assert features.spatial is not None
    assert features.spatial.shape == (5, 7 * 17 * 17)
    fast = InceptionExtractor(request(inception_weights, fast=True), standard=False)
    assert relative(fast(tf1_bilinear(images, 299)).pooled, expected) <= FAST
    assert fast.identity != exact.identity


@pytest.mark.parametrize("side", [3, 8, 17, 35, 70])
def test_faster_pools_have_the_bits_of_torch(side: int) -> None:
    x = torch.randn(2, 5, side, side, generator=torch.Generator().manual_seed(side))
    x[0, 0, 1, 1] = torch.nan
    pools = [
        lambda: F.max_pool2d(x, kernel_size=3, stride=2),
        lambda: F.max_pool2d(x, 3, stride=1, padding=1),
        lambda: nn.MaxPool2d(3, 2, ceil_mode=True)(x),
        lambda: F.avg_pool2d(x, kernel_size=3, stride=1, padding=1, count_include_pad=False),
    ]
    for pool in pools:
        expected = pool()
        with PlanarPools():
            found = pool()
        assert found.is_contiguous()
        torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


def test_networks_of_the_same_name_take_the_weights_and_give_other_features(
    inception_weights: Path, images: torch.Tensor
) -> None:
    state = torch.load(inception_weights, weights_only=True)
    x = (tf1_bilinear(images, 299) - 128) / 128
    expected = InceptionExtractor(request(inception_weights), standard=False)(x * 128 + 128)
    others: list[nn.Module] = [
        timm.create_model("inception_v3", num_classes=1008, aux_logits=False),
        torchvision.models.inception_v3(
            num_classes=1008, aux_logits=False, init_weights=False, transform_input=False
        ),
    ]
    for other in others:
        other.load_state_dict(state)
        other.fc = nn.Identity()
        with torch.inference_mode():
            assert relative(other.eval()(x), expected.pooled) > 100 * FAST
    module = "sfbench.quality.inception"
    network = load_network(inception_weights)
    assert type(network).__module__.startswith("torch_fidelity."), module


class Named(nn.Module):
    """Tensors under the names of the TorchScript file, which names no scale of normalization."""

    def __init__(self, state: dict[str, torch.Tensor]) -> None:
        super().__init__()
        places = dict(convolutions())
        for theirs, ours in places.items():
            self.put(f"{PREFIX}{theirs}.weight", state[f"{ours}.conv.weight"])
            self.put(f"{PREFIX}{theirs}.mean", state[f"{ours}.bn.running_mean"])
            self.put(f"{PREFIX}{theirs}.var", state[f"{ours}.bn.running_var"])
            self.put(f"{PREFIX}{theirs}.beta", state[f"{ours}.bn.bias"])
        self.put("output.weight", state["fc.weight"])
        self.put("output.bias", state["fc.bias"])

    def put(self, name: str, tensor: torch.Tensor) -> None:
        *folders, leaf = name.split(".")
        place: nn.Module = self
        for folder in folders:
            if not hasattr(place, folder):
                place.add_module(folder, nn.Module())
            place = getattr(place, folder)
        place.register_buffer(leaf, tensor)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_torchscript_file_holds_the_same_network_under_tensorflows_names(
    inception_weights: Path, tmp_path: Path
) -> None:
    state = torch.load(inception_weights, weights_only=True)
    torch.jit.script(Named(state)).save(tmp_path / "inception.pt")
    found = load_network(tmp_path / "inception.pt").state_dict()
    expected = load_network(inception_weights).state_dict()
    assert len(list(convolutions())) == 94
    counters = "num_batches_tracked"
    tensors = [name for name in expected if not name.endswith(counters)]
    assert len(tensors) == 94 * 5 + 2
    assert all(torch.equal(found[name], expected[name]) for name in tensors)


class Script(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x

    @torch.jit.export
    def __getstate__(self) -> int:
        return 3

    @torch.jit.export
    def __setstate__(self, state: int) -> None:
        raise RuntimeError("this code has run")  # noqa: EM101, TRY003  # compiled code


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_code_in_a_torchscript_file_is_never_run(tmp_path: Path) -> None:
    torch.jit.script(Script()).save(tmp_path / "evil.pt")
    with pytest.raises(WeightsError, match="contains no named tensors"):
        read_tensors(tmp_path / "evil.pt")


class Payload:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.mkdir, (str(self.witness),)


def test_a_pickle_with_code_in_it_is_refused_and_not_run(tmp_path: Path) -> None:
    path = tmp_path / "evil.pth"
    torch.save({"x": Payload(tmp_path / "executed")}, path)
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        InceptionExtractor(request(path), standard=False)
    assert not (tmp_path / "executed").exists()


def test_a_file_of_another_network_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"conv.weight": torch.zeros(3)}, path)
    with pytest.raises(WeightsError, match=r"not Inception-v3 of 2015") as caught:
        InceptionExtractor(request(path), standard=False)
    assert "\n" not in str(caught.value)


def test_only_a_published_digest_makes_an_extractor_standard(inception_weights: Path) -> None:
    from sfbench.quality.extractors import build_inception

    asked = request(inception_weights)
    assert not build_inception(asked).standard
    published = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
    standard = build_inception(dataclasses.replace(asked, sha256=published))
    assert standard.standard
    assert standard.name == INCEPTION
