"""`sfbench export mlflow:...`: every trial once, every number under a name MLflow takes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]
PUBLISHED = Path(__file__).parents[2] / "results"


def test_every_trial_is_sent_once(
    sfbench: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking = pytest.importorskip("mlflow.tracking", reason="mlflow: nox -s mlflow has it")
    # The file store is the only one that needs no server and no database.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = (tmp_path / "runs").as_uri()
    asked = (
        "export",
        f"mlflow:{uri}#tables",
        "--store",
        str(PUBLISHED),
        "--published",
        "--model",
        "stylegan2",
    )
    done = sfbench(*asked)
    assert done.returncode == 0, done.stderr
    assert "experiment tables: 8 runs added, 0 already present" in done.stdout
    assert "0 runs added, 8 already present" in sfbench(*asked).stdout
    client = tracking.MlflowClient(tracking_uri=uri)
    place = client.get_experiment_by_name("tables").experiment_id
    runs = client.search_runs([place])
    assert len(runs) == 8
    sizes = {(run.data.params["resolution"], run.data.params["batch"]) for run in runs}
    assert len(sizes) == 8
    assert all(run.data.metrics["throughput.core"] > 0 for run in runs)
    assert all("latency.p99" not in run.data.metrics for run in runs)


def test_without_the_package_it_says_what_to_install(
    sfbench_process: Command, tmp_path: Path
) -> None:
    blocked = tmp_path / "blocked" / "mlflow"
    blocked.mkdir(parents=True)
    (blocked / "__init__.py").write_text("raise ImportError")
    path = str(tmp_path / "blocked")
    done = sfbench_process(
        "export", "mlflow:x", "--store", str(PUBLISHED), "--published", PYTHONPATH=path
    )
    assert done.returncode == 2
    assert "needs the package mlflow-skinny" in done.stderr


def test_a_target_that_nobody_knows_is_an_error_of_one_line(sfbench: Command) -> None:
    done = sfbench("export", "nowhere:x", "--store", str(PUBLISHED), "--published")
    assert done.returncode == 2
    assert "no plugin exports to nowhere:" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.fast
def test_names_are_those_of_the_report_in_mlflows_characters() -> None:
    from sfbench_mlflow import metric_name

    assert metric_name("throughput.core") == "throughput.core"
    assert metric_name("fd[cifar-cnn7, clean-fid-0.1]") == "fd/cifar-cnn7/clean-fid-0.1"
