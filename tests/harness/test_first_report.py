"""What a first user meets: the demo, what a record says of its seconds, where weights come from."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from graph_making import SHORT
from making import a_case, a_record

from sfbench.cli.progress import ProgressLines
from sfbench.hardware.devices import resolve
from sfbench.report import frame
from sfbench.report.glossary import BADGES, badge_text, header_text
from sfbench.report.matrix import shown_columns
from sfbench.report.measurements import measurements
from sfbench.run.default_samples import default_samples
from sfbench.run.suites import read_suite
from sfbench.values.case import Source
from sfbench.values.flags import FLAGS
from sfbench.values.metrics import METRICS
from sfbench.values.plan import Plan
from sfbench.values.records import Reading

Command = Callable[..., subprocess.CompletedProcess[str]]
LOADING = """
import torch
from sfbench.api import GeneratorSpec, ModuleGenerator, hookimpl


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 3 * 16 * 16)

    def forward(self, z):
        return self.layer(z).tanh().view(-1, 3, 16, 16)


def build(request):
    torch.manual_seed({seed})
    return ModuleGenerator(Net(), request, latent_shape=(4,))


@hookimpl
def sfbench_generators():
    return [GeneratorSpec(name="net", summary="a layer", resolutions=(16,), build=build)]
"""


def test_the_demo_measures_writes_a_page_and_repeats_nothing(
    sfbench: Command, tmp_path: Path
) -> None:
    command = ("demo", "--scale", "smoke", "--store", "mine")
    done = sfbench(*command)
    assert done.returncode == 0, done.stderr
    assert "7 trials to measure" in done.stderr
    assert done.stdout.splitlines()[-1] == str(tmp_path / "mine" / "report.html")
    assert "Quality: " in done.stdout
    text = (tmp_path / "mine" / "report.html").read_text(encoding="utf-8")
    assert "custom_timing" in text
    assert text.count("data:image/webp") == 3
    again = sfbench(*command)
    assert "0 trials to measure, 7 already measured" in again.stderr
    assert len(list((tmp_path / "mine" / "runs").glob("*.json"))) == 7


@pytest.mark.fast
def test_the_demo_measures_trained_models_and_the_headline_case() -> None:
    small, large = (row.request for row in read_suite("demo").rows)
    assert (small.model, small.samples) == ("styleformer,styleformer-linformer,stylegan2", 1024)
    assert (large.model, large.res, large.measure) == (
        "styleformer-linformer",
        "256",
        "speed,memory",
    )


@pytest.mark.fast
def test_every_column_badge_and_flag_is_explained() -> None:
    readings = [
        Reading(metric=metric.name + "[x]" * metric.bracketed, value=1.0, how={})
        for metric in METRICS
        if metric.column is not None and not metric.inception
    ]
    rows = frame.summary(measurements([a_record(readings)]))
    columns = shown_columns(rows)
    assert len(columns) > 8
    assert [column.title for column in columns if not header_text(column)] == []
    for badge in (
        "random weights",
        "shipped weights",
        "file 0123abcd weights",
        "batch 8",
        "3 trials",
    ):
        assert badge_text(badge), badge
    assert badge_text("compile-reduce-overhead") != BADGES["compile"]
    assert all(flag.text for flag in FLAGS)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("data", "extractor", "count"),
    [("shapes", "cifar-cnn7", 512), ("file", "cifar-cnn7", 512), ("shapes", "inception-v3", 128)],
)
def test_the_default_number_of_images_gives_an_interval_where_that_is_cheap(
    data: str, extractor: str, count: int
) -> None:
    backend = resolve("cpu")
    assert default_samples(backend, Source(kind=data), Source(kind=extractor)) == count


def test_a_record_says_how_long_each_phase_took(sfbench_trials: Command) -> None:
    command = ("run", "--model", "synthetic", "--res", "16", "--measure", "speed,memory", *SHORT)
    done = sfbench_trials(*command, "--json")
    assert done.returncode == 0, done.stderr
    (record,) = json.loads(done.stdout)
    phases = dict(record["provenance"]["phase_seconds"])
    assert list(phases)[:3] == ["start", "import", "build"]
    assert {"throughput core", "latency", "memory", "roofline"} <= set(phases)
    assert all(seconds >= 0 for seconds in phases.values())
    assert record["seconds"] <= sum(phases.values()) <= record["seconds"] + 5


def test_a_failed_trial_says_how_long_it_took_until_then(sfbench: Command) -> None:
    faults = str(Path(__file__).with_name("misbehaving.py"))
    done = sfbench(
        "run",
        "--model",
        "fault-nan",
        "--res",
        "16",
        "--measure",
        "memory",
        "--plugin",
        faults,
        "--json",
    )
    (record,) = json.loads(done.stdout)
    assert record["status"] != "ok"
    assert record["provenance"]["phase_seconds"][-1][0] == "reference check"


@pytest.mark.parametrize(("seed", "kind"), [("7", "file"), ("request.seed", "random")])
def test_weights_that_do_not_depend_on_the_seed_were_loaded(
    seed: str, kind: str, sfbench: Command, tmp_path: Path
) -> None:
    (tmp_path / f"plug_{kind}.py").write_text(LOADING.format(seed=seed))
    done = sfbench(
        "run", "--model", "net", "--res", "16", "--measure", "memory", "--plugin", f"plug_{kind}.py"
    )
    assert done.returncode == 0, done.stderr
    shown = sfbench("report", "--format", "json").stdout
    (row,) = json.loads(shown)
    assert row["weights"] == kind
    assert (row["weights_sha256"] is not None) == (kind == "file")
    word = f"file {row['weights_sha256'][:8]}" if kind == "file" else "random"
    assert word in done.stdout


def test_a_trial_does_not_import_torchs_compilers() -> None:
    """They take a second of every trial."""
    code = (
        "import sys; from sfbench.generators.loading import load_plugins; import torch;"
        "from sfbench.speed.kernels import fallback_kernels; from sfbench.hardware.devices import resolve;"
        "load_plugins(['styleformer'], [], []);"
        "fallback_kernels(lambda: torch.ones(3) @ torch.ones(3), resolve('cpu'));"
        "sys.exit(any(name.startswith(('torch._inductor', 'torch._dynamo')) for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def page_of(sfbench: Command, tmp_path: Path) -> str:
    assert sfbench("report", "--html", "page.html").returncode == 0
    return (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_page_tells_a_case_in_full(sfbench: Command, tmp_path: Path) -> None:
    command = ("run", "--model", "synthetic", "--res", "16", "--measure", "speed,memory", *SHORT)
    assert sfbench(*command).returncode == 0
    text = page_of(sfbench, tmp_path)
    for words in ("s in phases", "throughput core", "host peak during", "identity", "blocks,"):
        assert words in text
    document: Any = json.loads(text.partition('id="figures">')[2].partition("</script>")[0])
    assert len(document["specs"]) >= 2
    assert list(document["commands"].values()) == [
        "sfbench run --model synthetic --res 16" + rest(text)
    ]


def rest(text: str) -> str:
    """Return the end of the command that the page shows."""
    shown = text.partition("<pre><code>")[2].partition("</code>")[0]
    return shown.removeprefix("sfbench run --model synthetic --res 16")


@pytest.mark.fast
def test_progress_says_which_value_of_an_option_is_measured() -> None:
    cases = tuple(a_case(options={"steps": steps, "seed": 0}) for steps in (4, 8))
    plan = Plan(cases=(*cases, a_case(model="other", options={})))
    stream = io.StringIO()
    lines = ProgressLines(stream, live=False, told_apart=plan.told_apart)
    lines.planned(3, 0)
    for case in plan.cases:
        lines.started(case, 0)
    text = stream.getvalue()
    assert "eager steps=4: " in text
    assert "eager steps=8: " in text
    assert "seed=" not in text
    assert "other" in text
