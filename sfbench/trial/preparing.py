"""From a new process to a checked generator in the case's mode."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sfbench.api.errors import ContractError, DataError, SkippedError, UnsupportedError
from sfbench.api.images import ImageCollection
from sfbench.catalogue.registry import BY_HAND, find_generator
from sfbench.generators.building import build
from sfbench.generators.loading import load_plugins
from sfbench.hardware.host import host_memory, reset_host_peak
from sfbench.hardware.policy import set_policy
from sfbench.store.content import content_sha256
from sfbench.trial.provenance import provenance, training_of
from sfbench.trial.state import Trial
from sfbench.values.metric_names import UNIT_RANGE

if TYPE_CHECKING:
    import torch

MOST_COMPARED = 8
"""Images compared with eager single precision."""


def import_torch(trial: Trial) -> None:
    """Import torch, a cost that is measured, and set the precision and threads of the case."""
    import torch  # noqa: F401  # its import is a cost that is measured

    trial.cold("import", time.time() - trial.job.spawned, "process start to torch imported")
    set_policy(trial.backend, trial.case.dtype, trial.case.threads)
    trial.provenance |= provenance(trial.job)


def load_model(trial: Trial) -> None:
    """Load the case's plugin, and find the model in it."""
    plugins, changed = load_plugins([trial.job.plugin], trial.job.plugins, trial.job.disabled)
    trial.provenance["switches_set_by_import"] = changed
    plugin, trial.spec = find_generator(plugins, trial.case.model)
    source = plugin.source
    trial.provenance["plugin"] = {"name": source.name, "origin": source.origin}
    if source.origin == BY_HAND:
        trial.provenance["plugin"]["file"] = Path(source.target).name
    if trial.spec.synthesizes:
        return
    name = trial.spec.name
    if trial.job.task != "trial":
        msg = f"{name} reads existing images: there is nothing to search or time"
        raise UnsupportedError(msg)
    trial.untimed = f"{name} reads existing images: there is nothing to time"
    if "quality" not in trial.case.measure:
        msg = f"{name} reads existing images: only quality can be measured"
        raise SkippedError(msg)


def is_plain(trial: Trial) -> bool:
    """Return whether the case is eager single precision, the reference for others."""
    return trial.case.dtype == "fp32" and trial.case.mode == "eager"


def draw_expected(trial: Trial) -> None:
    """Generate the images of eager single precision."""
    import torch

    from sfbench.generators import contract  # torch comes with it

    case = trial.case
    set_policy(trial.backend, "fp32", case.threads)
    plain = dataclasses.replace(case, dtype="fp32", mode="eager")
    try:
        generator = build(trial.spec, plain, case.device)
    except UnsupportedError as error:
        # A file holds one precision: there is nothing to compare its images with.
        trial.provenance["not_compared_with_eager_fp32"] = str(error)
        set_policy(trial.backend, case.dtype, case.threads)
        return
    seeds = range(min(case.batch, MOST_COMPARED))
    trial.expected = torch.cat([contract.draw(generator, [seed]) for seed in seeds])
    del generator
    set_policy(trial.backend, case.dtype, case.threads)
    trial.backend.reset_peaks()


def limit_memory(trial: Trial) -> None:
    """Make allocations fail beyond the job's limit."""
    assert trial.job.memory_limit is not None  # noqa: S101  # when the step applies
    trial.backend.limit_memory(trial.job.memory_limit)


def build_generator(trial: Trial) -> None:
    """Build the generator, with none of torch's global flags changed."""
    trial.resettable = reset_host_peak()
    start = time.perf_counter()
    trial.generator = build(trial.spec, trial.case, trial.case.device)
    trial.backend.synchronize()
    trial.cold("build", time.perf_counter() - start, "build, weights included")
    check_files(trial)
    trial.provenance["architecture"] = getattr(trial.generator, "architecture", None)
    module = getattr(trial.generator, "module", None)
    trial.provenance["weights_read"] = list(getattr(module, "weights_read", ()))
    trial.provenance["training"] = training_of(trial.case.weights.path)
    trial.loaded = host_memory("VmRSS")


def check_files(trial: Trial) -> None:
    """Raise DataError if weights, or files of options, have another content than was planned."""
    case = trial.case
    kinds = {option.name: option.kind for option in trial.spec.options}
    found: list[tuple[Path, str | None, str]] = []
    if case.weights.path is not None:
        path = Path(case.weights.path)
        found.append((path, case.weights.sha256, content_sha256(path)))
    for name, sha256 in case.option_sources:
        path = Path(str(case.options[name]))
        if kinds[name] == "path":
            found.append((path, sha256, content_sha256(path)))
        elif kinds[name] == "images":
            found.append((path, sha256, ImageCollection(path).sha256()))
    for path, planned, now in found:
        if planned not in {None, now}:
            msg = f"{path}: its content changed since it was planned; run again"
            raise DataError(msg)


def check_generator(trial: Trial) -> None:
    """Check the generator's images, switch it to the case's mode, and check them again."""
    from sfbench.generators import contract  # torch comes with it

    case = trial.case
    start = time.perf_counter()
    images = contract.check_images(trial.generator, case.size)
    if contract.seems_unit_range(trial.generator, images):
        trial.raise_flags([UNIT_RANGE])
    trial.cold("first_call", time.perf_counter() - start, "first images, 3 seeds")
    tolerance = contract.batch_tolerance(case.dtype)
    alone = contract.check_batch_independence(trial.generator, images, tolerance)
    trial.provenance["reference_check"] = {"alone_against_batch": alone}
    if case.mode == "eager" and trial.expected is None:
        return
    batch = contract.draw(trial.generator, range(case.batch))
    if case.mode != "eager":
        ready = enter_mode(trial)
        check_same_images(trial, ready, batch, tolerance)
        batch = ready
    if trial.expected is not None:
        trial.add(contract.difference_reading(batch[: len(trial.expected)], trial.expected))


def enter_mode(trial: Trial) -> torch.Tensor:
    """Switch the generator to the case's mode and return its first batch.

    It is prepared for the case's batch and for one image; later graphs are an error.
    """
    import torch

    from sfbench.generators import contract, execution

    mode = trial.case.mode
    trial.phase(mode)
    start = time.perf_counter()
    module = contract.module_of(trial.generator)
    trial.generator = execution.prepared(trial.generator, mode, module, trial.backend)
    images = contract.draw(trial.generator, range(trial.case.batch))
    trial.cold("compile", time.perf_counter() - start, f"{mode} and the first batch")
    contract.draw(trial.generator, range(1))
    if mode in execution.COMPILE_MODES:
        if not execution.graphs():
            msg = f"mode {mode}: its synthesize does not call its module: nothing was compiled"
            raise UnsupportedError(msg)
        trial.provenance["graph_breaks"] = execution.graph_breaks()
        torch.compiler.set_stance("fail_on_recompile")
    return images


def check_same_images(
    trial: Trial, images: torch.Tensor, eager: torch.Tensor, tolerance: float
) -> None:
    """Raise ContractError when a mode changes the images by more than rounding."""
    from sfbench.generators import contract

    difference = contract.relative_difference(images, eager)
    allowed = contract.COMPILE_TOLERANCE if trial.case.dtype == "fp32" else tolerance
    if not difference <= allowed:
        msg = (
            f"{trial.case.mode}: images differ from eager ones by {difference:.1e}, "
            f"over {allowed:.0e}"
        )
        raise ContractError(msg)
    trial.provenance["reference_check"]["compiled_against_eager"] = difference
