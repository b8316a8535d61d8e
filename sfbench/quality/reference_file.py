"""Statistics files of other packages, read and written: mean and covariance of features as .npz.

pytorch-fid and clean-fid: `mu`, `sigma`; guided-diffusion (ADM) adds `mu_s`, `sigma_s` of spatial
features. Files written here also say how they were made (`sfbench`, JSON) and of how many images.
"""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from sfbench.api.errors import DataError
from sfbench.data.array_files import ArrayFileError, array_names, read_arrays
from sfbench.quality.feature_store import write_archive
from sfbench.quality.statistics import Moments
from sfbench.values.documents import read_document

STATISTICS = ("mu", "sigma", "mu_s", "sigma_s")
SEMIDEFINITE = 1e-5
"""Of the largest eigenvalue: what rounding in single precision makes negative."""
MANY = 1 << 40
"""The count assumed if a file does not state it: practically exact."""


class AboutExtractor(TypedDict, total=False):
    """With what the features were made."""

    name: str
    weights_sha256: str | None
    resize: str
    scale: str
    features: int


class About(TypedDict, total=False):
    """What a statistics file written here says of itself."""

    name: str
    sha256: str | None
    images: Any
    count: int
    unreadable: int
    protocol: str
    ddof: int
    extractor: AboutExtractor


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceFile:
    """Moments of features, of spatial features where the file has them, and how they were made."""

    moments: Moments
    spatial: Moments | None
    about: Mapping[str, Any]


def is_reference_file(path: Path) -> bool:
    """Return whether a file is an .npz with a mean and a covariance; it may also hold images."""
    if path.suffix.lower() != ".npz" or not zipfile.is_zipfile(path):
        return False
    try:
        return {"mu", "sigma"} <= set(array_names(path))
    except ArrayFileError:
        return False


def holds_images(path: Path) -> bool:
    """Return whether a statistics file holds images beside them (guided-diffusion's do)."""
    return "arr_0" in array_names(path)


def read_reference(path: Path) -> ReferenceFile:
    """Return the statistics; nothing is unpickled.

    Raises DataError for arrays that are not a mean and a covariance.
    """
    try:
        arrays = read_arrays(path, *STATISTICS, "count", "sfbench")
        count = int(arrays["count"]) if "count" in arrays else MANY
        about = read_document(str(arrays["sfbench"]), About) if "sfbench" in arrays else About()
    except (ValueError, TypeError, OSError, RecursionError) as error:
        msg = f"{path}: cannot be read as statistics ({error}); expected an .npz with mu and sigma"
        raise DataError(msg) from None
    spatial = None
    if {"mu_s", "sigma_s"} <= arrays.keys():
        spatial = checked_moments(path, arrays["mu_s"], arrays["sigma_s"], count)
    moments = checked_moments(path, arrays["mu"], arrays["sigma"], count)
    return ReferenceFile(moments=moments, spatial=spatial, about=about)


def checked_moments(path: Path, mean: np.ndarray, covariance: np.ndarray, count: int) -> Moments:
    """Return a mean and covariance as moments; raises DataError if they are invalid."""
    width = mean.shape[-1] if mean.ndim else 0
    numbers = {mean.dtype.kind, covariance.dtype.kind} <= set("fiu")
    if mean.ndim != 1 or covariance.shape != (width, width) or not width or not numbers:
        msg = (
            f"{path}: mu {mean.dtype} {mean.shape} and sigma {covariance.dtype} {covariance.shape} are "
            "not mean and covariance"
        )
        raise DataError(msg)
    finite = np.isfinite(mean).all() and np.isfinite(covariance).all()
    if not finite or not np.allclose(covariance, covariance.T, rtol=1e-5, atol=1e-8):
        msg = f"{path}: sigma is not finite and symmetric; expected a covariance"
        raise DataError(msg)
    covariance = covariance.astype(np.float64)
    spectrum = np.linalg.eigvalsh(covariance)
    if spectrum[0] < -SEMIDEFINITE * max(spectrum[-1], np.finfo(float).tiny):
        msg = (
            f"{path}: sigma has an eigenvalue of {spectrum[0]:.3g} (largest {spectrum[-1]:.3g}); "
            "expected a covariance, which has none below 0; compute the statistics again"
        )
        raise DataError(msg)
    return Moments(count, mean.astype(np.float64), covariance)


def write_reference(
    path: Path, moments: Moments, about: Mapping[str, Any], spatial: Moments | None = None
) -> None:
    """Write statistics that pytorch-fid, clean-fid, dgm-eval and guided-diffusion read."""
    arrays = {
        "mu": moments.mean,
        "sigma": moments.covariance,
        "count": np.array(moments.count),
        "sfbench": np.array(json.dumps(dict(about), sort_keys=True)),
    }
    if spatial is not None:
        arrays |= {"mu_s": spatial.mean, "sigma_s": spatial.covariance}
    write_archive(path, arrays)
