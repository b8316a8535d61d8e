"""Weights in the package: whole, small, found by the size they are of, and better than noise."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from reference_models.cards import PACKAGE, read_cards
from sfbench.catalogue.catalogue import Catalogue
from sfbench.cli import defaults
from sfbench.run.grid import PlanError, make_plan
from sfbench.values.case import Case, Request

Command = Callable[..., subprocess.CompletedProcess[str]]
MODELS = ("styleformer", "stylegan2", "biggan")
SHIPPED = [card for card in read_cards(MODELS) if "file" in card]
NANO = ("preset=nano",)


def case_of(model: str, option: tuple[str, ...], catalogue: Catalogue | None = None) -> Case:
    request = Request(model=model, option=option, measure="memory", device="cpu")
    known = catalogue or defaults.catalogue([], [])
    plan = make_plan([request], known, torch_home=PACKAGE, trials=1, timeout_seconds=1)
    return plan.cases[0]


@pytest.mark.fast
def test_there_are_weights_of_these_models() -> None:
    assert {card["model"] for card in SHIPPED} == set(MODELS)


@pytest.mark.fast
@pytest.mark.parametrize("card", SHIPPED, ids=lambda card: card["name"])
def test_a_shipped_file_is_what_its_card_says(card: dict[str, object]) -> None:
    content = Path(str(card["file"])).read_bytes()
    assert hashlib.sha256(content).hexdigest() == card["sha256"]
    assert len(content) == card["size"]
    assert len(content) <= 8_000_000


@pytest.mark.fast
@pytest.mark.parametrize("model", MODELS)
def test_they_are_found_for_their_size_and_for_no_other(model: str) -> None:
    found = case_of(model, NANO).weights
    assert found.kind == "shipped"
    assert found.sha256 in {card["sha256"] for card in SHIPPED}
    assert case_of(model, ()).weights.kind == "random"


@pytest.mark.fast
def test_a_damaged_file_is_not_used(tmp_path: Path) -> None:
    catalogue = defaults.catalogue([], [])
    bad = tmp_path / "weights.safetensors"
    bad.write_bytes(b"cut off")
    cards = tuple({**c, "file": str(bad)} if c["file"] else c for c in catalogue.checkpoints)
    object.__setattr__(catalogue, "checkpoints", cards)
    with pytest.raises(PlanError, match="damaged"):
        case_of("styleformer", NANO, catalogue)


@pytest.mark.parametrize("model", MODELS)
def test_quality_at_32_px_means_something(model: str, sfbench: Command) -> None:
    asked = ("--model", model, "--option", "preset=nano", "--measure", "quality")
    done = sfbench("run", *asked, "--samples", "192", "--json")
    assert done.returncode == 0, done.stderr
    (record,) = json.loads(done.stdout)
    value = next(r["value"] for r in record["readings"] if r["metric"] == "fd[cifar-cnn7]")
    assert value < 100  # of random weights: 224
    card = next(card for card in SHIPPED if card["model"] == model)
    assert record["provenance"]["training"]["identity"] == card["details"]["identity"]
