"""Sends records to an MLflow tracking server: one run per trial, its numbers as metrics.

`sfbench export mlflow:URI`, or `mlflow:URI#EXPERIMENT`; needs the package mlflow-skinny (or mlflow).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from sfbench.api import DataError, hookimpl

SCHEME = "mlflow:"
EXPERIMENT = "sfbench"
KEY = "sfbench.trial"
"""Tag that identifies a trial that was sent before."""
MOST_TEXT = 500


@hookimpl
def sfbench_export(records: Sequence[Mapping[str, Any]], target: str) -> str | None:
    """Send the records that the server lacks; None for a target that is not mlflow:URI."""
    if not target.startswith(SCHEME):
        return None
    try:
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
    except ImportError:
        msg = f"{target}: needs the package mlflow-skinny; pip install mlflow-skinny"
        raise DataError(msg) from None
    uri, _, experiment = target.removeprefix(SCHEME).partition("#")
    name = experiment or EXPERIMENT
    try:
        client = MlflowClient(tracking_uri=uri)
        found = client.get_experiment_by_name(name)
        place = client.create_experiment(name) if found is None else found.experiment_id
        new = [record for record in records if not is_there(client, place, key_of(record))]
        for record in new:
            send(client, place, record)
    except (MlflowException, OSError) as error:
        msg = f"{target}: {(str(error).splitlines() or [type(error).__name__])[0]}"
        raise DataError(msg) from None
    return f"experiment {name}: {len(new)} runs added, {len(records) - len(new)} already present"


def key_of(record: Mapping[str, Any]) -> str:
    """Return the key that identifies a trial."""
    return f"{record['identity']}-t{record['trial']}-a{record['attempt']}"


def is_there(client: Any, place: str, key: str) -> bool:
    """Return whether the server has a run of that trial."""
    return bool(client.search_runs([place], f"tags.`{KEY}` = '{key}'", max_results=1))


def send(client: Any, place: str, record: Mapping[str, Any]) -> None:
    """Create the run: the case as parameters, numbers as metrics.

    It is tagged at the very end, so that an interrupted one is sent again.
    """
    from mlflow.entities import Metric, Param

    case = record["case"]
    started = int(dt.datetime.fromisoformat(record["started"]).timestamp() * 1000)
    ended = started + int(record["seconds"] * 1000)
    tags = {"status": record["status"], "machine": record["machine"]}
    tags |= {"flags": " ".join(record["flags"]), "weights": case["weights"]["kind"]}
    sources = {name: case.get(name) or {} for name in ("weights", "data", "extractor")}
    tags |= {f"{k}.sha256": one["sha256"] for k, one in sources.items() if one.get("sha256")}
    tags |= {"reason": str(record["reason"])[:MOST_TEXT]} if record["reason"] else {}
    title = f"{case['model']} {case['resolution']}px"
    run = client.create_run(place, start_time=started, tags=tags, run_name=title)
    params = {name: value for name, value in case.items() if not isinstance(value, dict | list)}
    params |= {f"option.{name}": value for name, value in case["options"].items()}
    numbers = [one for one in record["readings"] if one["value"] is not None]
    client.log_batch(
        run.info.run_id,
        metrics=[Metric(metric_name(one["metric"]), one["value"], ended, 0) for one in numbers],
        params=[Param(k, str(v)[:MOST_TEXT]) for k, v in params.items() if v is not None],
    )
    status = "FINISHED" if record["status"] == "ok" else "FAILED"
    client.set_terminated(run.info.run_id, status, ended)
    client.set_tag(run.info.run_id, KEY, key_of(record))


def metric_name(metric: str) -> str:
    """Return a metric's name in the characters that MLflow allows: fd[x, y] becomes fd/x/y."""
    return metric.replace("[", "/").replace(", ", "/").replace("]", "")
