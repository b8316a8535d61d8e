"""The step that saves a row of samples; no number depends on it."""

from __future__ import annotations

from pathlib import Path

from sfbench.store import album
from sfbench.trial.state import Trial, inference


def keep_samples(trial: Trial) -> None:
    """Draw a row of images into the album of the store, for people to see."""
    from sfbench.inspection.portrait import SAMPLE_SEEDS, keep, samples  # torch comes with it

    case = trial.case.inputs()
    how = {"seeds": list(SAMPLE_SEEDS), "dtype": case["dtype"], "device": case["device"]}
    place = album.place(Path(str(trial.job.pictures)), case)
    try:
        with inference():
            picture = samples(trial.generator, SAMPLE_SEEDS, trial.case.batch)
        keep(picture, "samples", place, case, how)
    except Exception as error:  # noqa: BLE001  # a picture must not cost what was measured
        trial.provenance["samples"] = f"not kept: {type(error).__name__}: {error}"
