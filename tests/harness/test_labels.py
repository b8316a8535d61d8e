"""Labels of generated images as part of the protocol: each rule, from the seed alone, recorded."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sfbench.api.errors import UnsupportedError, UsageError
from sfbench.api.labels import Labels, parse_labels
from sfbench.api.latents import LatentSource

Command = Callable[..., subprocess.CompletedProcess[str]]
PLUGIN = """
import torch
from torch import nn
from sfbench.api import GeneratorSpec, ModuleGenerator, hookimpl

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.a = nn.Linear(8 + classes, 3 * 16 * 16)
    def forward(self, z, c=None):
        x = z if c is None else torch.cat([z, c], dim=1)
        return torch.tanh(self.a(x)).view(-1, 3, 16, 16)

class Silent:
    def __init__(self, inner):
        self.inner, self.resolution, self.module = inner, inner.resolution, inner.module
    def draw_latents(self, seeds): return self.inner.draw_latents(seeds)
    def synthesize(self, latents): return self.inner.synthesize(latents)

def conditional(request): return ModuleGenerator(Net(5), request, latent_shape=(8,), classes=5)
def plain(request): return ModuleGenerator(Net(0), request, latent_shape=(8,))
def silent(request): return Silent(plain(request))

@hookimpl
def sfbench_generators():
    return [GeneratorSpec(name=f.__name__, summary="", resolutions=(16,), build=f)
            for f in (conditional, plain, silent)]
"""


@pytest.mark.fast
@given(seed=st.integers(0, 2**31), classes=st.integers(1, 50))
def test_a_label_is_a_class_and_depends_on_the_seed_alone(seed: int, classes: int) -> None:
    counts = tuple(range(classes))
    for rule in (Labels(rule="balanced"), Labels(rule="data", counts=(*counts, 1))):
        label = rule.of(seed, len(rule.counts) or classes, 0)
        assert 0 <= label < (len(rule.counts) or classes)
        assert label == rule.of(seed, len(rule.counts) or classes, 3)


@pytest.mark.fast
def test_balanced_labels_have_equal_counts_and_data_labels_those_of_the_data() -> None:
    balanced = Counter(Labels(rule="balanced").of(seed, 7, 0) for seed in range(100, 800))
    assert set(balanced.values()) == {100}
    there = (700, 200, 0, 100)
    rule = Labels(rule="data", counts=there)
    drawn = Counter(rule.of(seed, 4, 0) for seed in range(1000))
    assert all(abs(drawn[k] - count) <= 3 for k, count in enumerate(there))
    assert drawn[2] == 0


@pytest.mark.fast
def test_the_rule_moves_neither_noise_nor_latents() -> None:
    plain = LatentSource(latent_shape=(4,), classes=5, noise_shapes=((2,),))
    first = plain.draw(range(6))
    for rule in (Labels(rule="balanced"), Labels(rule="class", number=2)):
        other = LatentSource(latent_shape=(4,), classes=5, noise_shapes=((2,),), labels=rule).draw(
            range(6)
        )
        assert torch.equal(other.z, first.z)
        assert other.noise is not None
        assert first.noise is not None
        assert torch.equal(other.noise[0], first.noise[0])
        assert other.c is not None
        assert first.c is not None
        assert not torch.equal(other.c, first.c)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("uniform", Labels()),
        ("balanced", Labels(rule="balanced")),
        ("data", Labels(rule="data")),
        ("class:3", Labels(rule="class", number=3)),
    ],
)
def test_rules_are_read(text: str, rule: Labels) -> None:
    assert parse_labels(text) == rule


@pytest.mark.fast
@pytest.mark.parametrize(
    "text", ["", "class", "class:", "class:-1", "class:x", "uniform:1", "some"]
)
def test_other_rules_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--labels"):
        parse_labels(text)


@pytest.mark.fast
def test_a_class_that_the_model_lacks_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="class 5, but the model has 5 classes"):
        LatentSource(latent_shape=(1,), classes=5, labels=Labels(rule="class", number=5))


def run(sfbench: Command, model: str, labels: str) -> dict[str, object]:
    done = sfbench(
        "run", "--plugin", "cond.py", "--model", model, "--res", "16", "--measure", "quality",
        "--samples", "40", "--labels", labels, "--json",
    )  # fmt: skip
    (record,) = json.loads(done.stdout)
    found: dict[str, object] = record
    return found


def test_labels_are_recorded_in_the_identity_and_on_the_badge(
    sfbench: Command, tmp_path: Path
) -> None:
    (tmp_path / "cond.py").write_text(PLUGIN)
    records = {
        labels: run(sfbench, "conditional", labels) for labels in ("uniform", "data", "class:2")
    }
    keys = {str(record["case_key"]) for record in records.values()}
    assert len(keys) == 3
    told = {
        labels: next(r["how"]["labels"] for r in record["readings"] if "extractor" in r["how"])  # type: ignore[index,attr-defined]
        for labels, record in records.items()
    }
    assert told == {
        "uniform": "uniform over 5 classes",
        "data": "5 classes as often as in the data",
        "class:2": "class 2 of 5",
    }
    shown = sfbench("report").stdout
    assert "labels class 2 of 5" in " ".join(shown.split())
    real = next(r["how"]["real"] for r in records["class:2"]["readings"] if "extractor" in r["how"])  # type: ignore[index,attr-defined]
    assert real == 40


def test_models_without_classes_and_silent_ones_say_so(sfbench: Command, tmp_path: Path) -> None:
    (tmp_path / "cond.py").write_text(PLUGIN)
    plain = run(sfbench, "plain", "balanced")
    assert plain["status"] == "ok"
    assert any("unconditional" in r["how"].get("labels", "") for r in plain["readings"])  # type: ignore[attr-defined]
    assert "no classes" in str(run(sfbench, "plain", "class:1")["reason"])
    assert "does not say how it draws labels" in str(run(sfbench, "silent", "balanced")["reason"])
    assert run(sfbench, "silent", "uniform")["status"] == "ok"
