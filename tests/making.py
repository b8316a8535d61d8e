"""Cases, records and jobs for tests: plain ones, of which a test changes what it is about."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from sfbench.catalogue.catalogue import Catalogue, Model
from sfbench.values.case import Case, Source
from sfbench.values.job import Job
from sfbench.values.records import Reading, Record

NONE = Source(kind="none")


def a_case(**changes: Any) -> Case:
    """Return the case of a model "m" at 32 px on a CPU, measured for speed."""
    plain: dict[str, Any] = {
        "model": "m",
        "resolution": 32,
        "options": {},
        "weights": Source(kind="random"),
        "batch": 8,
        "dtype": "fp32",
        "mode": "eager",
        "device": "cpu",
        "data": NONE,
        "extractor": NONE,
        "measure": ("speed",),
        "samples": 0,
        "seed": 0,
        "threads": 2,
    }
    return Case(**plain | changes)


def a_stored_case(**changes: Any) -> dict[str, Any]:
    """Return a case as a record holds it, with these of its inputs changed."""
    return a_case().inputs() | {"files": {}} | changes


def a_record(readings: Iterable[Reading] = (), **changes: Any) -> Record:
    """Return the record of a trial that is ok; `case` holds what of the stored case is changed."""
    case = a_stored_case(**changes.pop("case", {}))
    name = f"{case['model']}-{case['resolution']}-{case['batch']}-{case['dtype']}"
    plain: dict[str, Any] = {
        "identity": name,
        "case_key": name,
        "trial": 0,
        "attempt": 0,
        "status": "ok",
        "machine": "here",
        "started": "2026-01-01T00:00:00+00:00",
    }
    return Record(case=case, readings=tuple(readings), **plain | changes)


def a_job(case: Case | None = None, **changes: Any) -> Job:
    """Return the job of one process that measures the case."""
    plain: dict[str, Any] = {
        "case": case or a_case(),
        "identity": "i",
        "trial": 0,
        "attempt": 0,
        "machine": "here",
        "plugin": "p",
        "plugins": (),
        "disabled": (),
        "environment": {},
        "features": "",
    }
    return Job(**plain | changes)


def a_model(**changes: Any) -> Model:
    """Return a model "m" of a plugin "p" without options."""
    plain: dict[str, Any] = {field.name: () for field in dataclasses.fields(Model)}
    plain |= {"name": "m", "plugin": "p", "summary": "", "license": "", "citation": ""}
    plain |= {"synthesizes": True, "trainable": False, "code_sha256": "1"}
    plain |= {"reference": "", "executes": "", "requires": {}, "bound": {}}
    return Model(**plain | changes)


def a_catalogue(*models: Model) -> Catalogue:
    """Return a catalogue of these models and nothing else."""
    return Catalogue(models=models, plugins=(), checkpoints=(), extractors=())
