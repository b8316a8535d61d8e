from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch_fidelity import feature_extractor_inceptionv3 as peer

from sfbench.api.errors import WeightsError
from sfbench.quality.inception import LAYERS, InceptionExtractor
from sfbench.quality.weights import INCEPTION, file_sha256
from sfbench.testing import check_extractor


@pytest.fixture(scope="module")
def made_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in the published format: its names and shapes, He-scaled random values."""

    class Blank(peer.FeatureExtractorInceptionV3):
        def load_state_dict(self, *_: object, **__: object) -> None:
            return None

    patch = pytest.MonkeyPatch()
    patch.setattr(peer, "load_state_dict_from_url", lambda *_, **__: {})
    network = Blank(INCEPTION, LAYERS)
    patch.undo()
    source = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            fan_in = module.weight[0].numel()
            module.weight.data.normal_(0, (2 / fan_in) ** 0.5, generator=source)
    path = tmp_path_factory.mktemp("weights") / "w.pth"
    torch.save(network.state_dict(), path)
    return path


def test_other_weights_give_an_extractor_with_another_name(made_weights: Path) -> None:
    sha = file_sha256(made_weights)
    extractor = InceptionExtractor(made_weights, sha, "cpu")
    assert not extractor.standard
    assert extractor.name == f"inception-v3-{sha[:8]}"
    assert all(result.passed for result in check_extractor(extractor))


def test_features_are_those_of_torch_fidelity(made_weights: Path) -> None:
    images = torch.randint(
        0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    network = peer.FeatureExtractorInceptionV3(
        "x", LAYERS, feature_extractor_weights_path=str(made_weights)
    )
    expected, expected_logits = network(images)
    features = InceptionExtractor(made_weights, "0" * 64, "cpu")(images)
    assert features.pooled.shape == (2, 2048)
    assert torch.equal(features.pooled, expected)
    assert features.logits is not None
    assert torch.equal(features.logits, expected_logits)


class Payload:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.mkdir, (str(self.witness),)


def test_a_pickle_with_code_in_it_is_refused_and_not_run(tmp_path: Path) -> None:
    path = tmp_path / "evil.pth"
    torch.save({"x": Payload(tmp_path / "executed")}, path)
    with pytest.raises(WeightsError, match="not the Inception-v3 state dict"):
        InceptionExtractor(path, "0" * 64, "cpu")
    assert not (tmp_path / "executed").exists()
