"""The command that a report prints for a row asks for the very case that made it."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer.main
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from sfbench.api.spec import PATHS, Option
from sfbench.catalogue.catalogue import Catalogue, Model, read_catalogue
from sfbench.cli.commands import app
from sfbench.report.pairing import joined_case
from sfbench.run.grid import make_plan
from sfbench.values.case import DTYPES, MODES, Case, Request, request_of
from sfbench.values.job import case_document

ALONE = "SFBENCH_TEST_ALONE"
NAMES = ("real images, 2", "made=here", "plain")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images and weights under names that a command line can trip over."""
    folder = tmp_path_factory.mktemp("world")
    for name in NAMES:
        (folder / name).mkdir()
        for index in range(3):
            pixels = np.full((8, 8, 3), 40 * index + len(name), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")
        torch.save({"w": torch.full((2,), float(len(name)))}, folder / f"{name}.pt")
    return folder


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    return read_catalogue([], [], tmp_path_factory.mktemp("cache"))


def named(option: Option | None) -> str:
    return option.name if option else ""


def values(option: Option) -> st.SearchStrategy[str]:
    match option.kind:
        case "int":
            return st.integers(1, 4096).map(str)
        case "ints":
            return st.lists(st.integers(1, 512), min_size=1, max_size=4).map(
                lambda numbers: ",".join(map(str, numbers))
            )
        case "float":
            return st.floats(0, 1, allow_nan=False).map(str)
        case "bool":
            return st.sampled_from(["true", "false"])
        case "path" | "images":
            return st.sampled_from(NAMES)
        case _:
            return st.sampled_from(option.choices) if option.choices else st.just("x")


@st.composite
def requests(draw: st.DrawFn, models: tuple[Model, ...]) -> Request:
    model = draw(st.sampled_from(models))
    own = [option for option in model.options if option.name != model.reference]
    some = draw(st.lists(st.sampled_from(own or (None,)), unique_by=named, max_size=4))
    needed = [option for option in own if option.kind in PATHS and option.default is None]
    options = {option.name: draw(values(option)) for option in [*filter(None, some), *needed]}
    held = any(option.weights for option in model.options)
    given = ["auto"] if held else ["auto", "random", *(f"{name}.pt" for name in NAMES)]
    weights = draw(st.sampled_from(given))
    reference = f":{draw(st.sampled_from(NAMES))}" if model.reference else ""
    extractor = draw(
        st.sampled_from([("auto", "auto"), ("cifar-cnn7", "auto"), ("inception-v3", "plain.pt")])
    )
    return Request(
        model=f"{model.name}{reference}",
        res=str(draw(st.sampled_from(model.resolutions or (16, 32)))),
        batch=draw(st.sampled_from(["1", "8", "64", "max-fit", "best-throughput"])),
        dtype=draw(st.sampled_from(DTYPES)),
        mode=draw(st.sampled_from(MODES)),
        device="cpu",
        data=draw(st.sampled_from(["shapes", *NAMES])),
        measure=draw(
            st.sampled_from(
                ["speed,memory,quality", "speed", "quality", "memory,energy,min-memory"]
            )
        ),
        extractor=extractor[0],
        extractor_weights=extractor[1],
        option=tuple(f"{name}={value}" for name, value in options.items()),
        weights=weights,
        samples=draw(st.none() | st.integers(2, 10**6)),
        seed=draw(st.integers(0, (1 << 32) - 1)),
        threads=draw(st.none() | st.integers(1, 64)),
        warmup_seconds=draw(st.none() | st.floats(0.01, 10)),
        blocks=draw(st.none() | st.integers(1, 100)),
        block_seconds=draw(st.none() | st.floats(0.001, 2)),
        latency_calls=draw(st.none() | st.integers(1, 1000)),
    )


def planned(request: Request, catalogue: Catalogue, home: Path) -> tuple[Case, ...]:
    return make_plan([request], catalogue, torch_home=home, trials=1, timeout_seconds=1).cases


def parsed(command: str) -> Request:
    """Return the request that the command line makes of a printed command."""
    program, name, *words = shlex.split(command)
    assert (program, name) == ("sfbench", "run")
    params = typer.main.get_command(app).commands["run"].make_context("run", words).params  # type: ignore[attr-defined]
    fields: dict[str, Any] = {f.name: params[f.name] for f in dataclasses.fields(Request)}
    lists = {name: tuple(fields[name] or ()) for name in ("option", "sweep")}
    return Request(**fields | lists)


def stored(case: Case) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(case_document(case)))
    return found


def test_the_printed_command_is_tried_in_a_process_of_its_own() -> None:
    """After other tests, hypothesis sees draws that differ between runs of one example; not alone."""
    name = test_the_printed_command_parsed_again_gives_the_same_cases.__name__
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", f"{__file__}::{name}"],
        env=os.environ | {ALONE: "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


@pytest.mark.skipif(ALONE not in os.environ, reason="runs in a process of its own, above")
@settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_the_printed_command_parsed_again_gives_the_same_cases(
    data: st.DataObject, world: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world)
    home = world / "torch"
    # A printed command trusts nothing, and code is no path.
    plannable = [
        one
        for one in catalogue.models
        if not one.executes and all(option.kind != "code" for option in one.options)
    ]
    asked = data.draw(requests(tuple(plannable)))
    cases = planned(asked, catalogue, home)
    model = catalogue.model(asked.model)
    plain = {option.name: option.default for option in model.options}
    for case in cases:
        again = planned(parsed(request_of(stored(case), plain).command()), catalogue, home)
        assert [one.key() for one in again] == [case.key()]
    # A row of the report joins speed and quality: its command asks for both.
    timed = [case for case in cases if "quality" not in case.measure]
    judged = [case for case in cases if case.measure == ("quality",)]
    if timed and judged and timed[0].batch_rule == "fixed":
        joined = joined_case(stored(timed[0]), stored(judged[0]))
        again = planned(parsed(request_of(joined, plain).command()), catalogue, home)
        assert {one.key() for one in again} == {timed[0].key(), judged[0].key()}
    assert os.getcwd() == str(world)  # noqa: PTH109  # the files were found by their names


@pytest.mark.fast
def test_what_is_the_default_is_not_printed() -> None:
    assert Request(model="m").command() == "sfbench run --model m"
