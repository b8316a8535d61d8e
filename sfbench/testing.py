"""The contract suite for plugin authors: `check_generator(spec)` and `check_extractor(extractor)`."""

from __future__ import annotations

import dataclasses
import io
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from sfbench.api.errors import ContractError, first_line
from sfbench.api.protocols import FeatureExtractor, ImageGenerator, Staged
from sfbench.api.spec import GeneratorSpec, OptionValue
from sfbench.generators import contract
from sfbench.generators.building import build
from sfbench.hardware.policy import changed_flags, global_flags
from sfbench.quality.resizing import resized
from sfbench.speed.stages import stage_operations
from sfbench.values.case import Case, Source

USUAL_RESOLUTION = 32
USUAL_SIDE = 40
EXTRACTOR_TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True, slots=True)
class CheckResult:
    """One check of the contract: its name, whether it passed, details, and the seconds."""

    name: str
    passed: bool
    detail: str
    seconds: float


def usual_resolution(spec: GeneratorSpec) -> int:
    """Return 32 px, or else the model's smallest resolution above, or its largest below."""
    sides = sorted(spec.resolutions) or [USUAL_RESOLUTION]
    return next((side for side in sides if side >= USUAL_RESOLUTION), sides[-1])


def check_generator(
    spec: GeneratorSpec,
    *,
    resolution: int | None = None,
    options: Mapping[str, OptionValue] | None = None,
    weights: Path | None = None,
) -> list[CheckResult]:
    """Return the result of every check of the contract, in order.

    `weights`: the file or folder that a build gets, None for random weights.

    A failed check does not stop the others, unless the generator cannot be built at all.
    """
    case = Case(
        model=spec.name,
        resolution=resolution or usual_resolution(spec),
        options={option.name: option.default for option in spec.options} | dict(options or {}),
        weights=Source(kind="random")
        if weights is None
        else Source(kind="file", path=str(weights)),
        batch=len(contract.SEEDS),
        dtype="fp32",
        mode="eager",
        device="cpu",
        data=Source(kind="none"),
        extractor=Source(kind="none"),
        measure=(),
        samples=0,
        seed=0,
        threads=torch.get_num_threads(),
    )
    suite = GeneratorSuite(spec, case)
    results = []
    for name, check in suite.checks():
        results.append(timed(name, check))
        if suite.generator is None:
            break
    return results


def timed(name: str, check: Callable[[], str]) -> CheckResult:
    """Return the result of one check; whatever a plugin raises is its failure."""
    start = time.perf_counter()
    try:
        detail, passed = check(), True
    except Exception as error:  # noqa: BLE001  # a stranger's code may raise anything
        lines = str(error).strip().splitlines() or [""]
        kind = "" if isinstance(error, ContractError) else f"{type(error).__name__}: "
        detail, passed = kind + lines[0], False
    return CheckResult(name, passed, detail, time.perf_counter() - start)


class GeneratorSuite:
    """The checks of the contract for one spec; later ones use what the first one built."""

    def __init__(self, spec: GeneratorSpec, case: Case) -> None:
        self.spec = spec
        self.case = case
        self.generator: ImageGenerator | None = None

    def checks(self) -> Iterator[tuple[str, Callable[[], str]]]:
        """Yield the checks that apply, by name."""
        yield "build", self.check_build
        yield "shape, range, finite", self.check_images
        yield "same seed, same image", self.check_determinism
        yield "other seed, other image", self.check_sensitivity
        yield "batch independence", self.check_batch
        if self.spec.synthesizes:
            yield "meta-device build", self.check_meta
            yield "state_dict round trip", self.check_state

    @property
    def built(self) -> ImageGenerator:
        """The generator under test."""
        if self.generator is None:
            msg = "the generator could not be built"
            raise ContractError(msg)
        return self.generator

    def check_build(self) -> str:
        """Build it, and compare torch's global switches and random state before and after."""
        flags, state = global_flags(), torch.get_rng_state()
        self.generator = build(self.spec, self.case, "cpu")
        changed = changed_flags(flags)
        if not torch.equal(state, torch.get_rng_state()):
            changed.append("random state")
        if changed:
            msg = f"building it changed torch's global {', '.join(changed)}"
            raise ContractError(msg)
        return f"{self.case.resolution} px, no global setting changed"

    def check_images(self) -> str:
        """Check a few images, and that making them changes none of torch's global switches."""
        flags = global_flags()
        images = contract.check_images(self.built, self.case.size)
        changed = changed_flags(flags)
        if changed:
            msg = f"making images changed torch's global {', '.join(changed)}"
            raise ContractError(msg)
        values = f"values {images.min().item():.2f} to {images.max().item():.2f}"
        if contract.seems_unit_range(self.built, images):
            return f"{values}: WARNING: none is negative; images in [0, 1] must become x * 2 - 1"
        return values

    def check_determinism(self) -> str:
        """Draw the same seeds twice, and from a second build."""
        first = contract.draw(self.built, contract.SEEDS)
        if not torch.equal(first, contract.draw(self.built, contract.SEEDS)):
            msg = "the same seeds give different images the second time"
            raise ContractError(msg)
        again = contract.draw(build(self.spec, self.case, "cpu"), contract.SEEDS)
        if not torch.equal(first, again):
            msg = "the same seeds give different images after building again with the same seed"
            raise ContractError(msg)
        return "drawn twice, and after a second build"

    def check_sensitivity(self) -> str:
        """Compare the images of different seeds."""
        images = contract.draw(self.built, contract.SEEDS)
        least = min(
            contract.relative_difference(images[i], images[j])
            for i in range(len(images))
            for j in range(i)
        )
        if least == 0:
            msg = "two different seeds give the same image"
            raise ContractError(msg)
        return f"smallest difference {least:.2g} of the largest value"

    def check_batch(self) -> str:
        """Compare an image alone with its row of a batch."""
        together = contract.draw(self.built, contract.SEEDS)
        difference = contract.check_batch_independence(self.built, together)
        return f"difference {difference:.1e}"

    def check_meta(self) -> str:
        """Build and run it on the meta device, where FLOPs are counted."""
        try:
            generator = build(self.spec, self.case, "meta")
            latents = generator.draw_latents([0])
            if isinstance(generator, Staged):
                with torch.inference_mode():
                    parts = stage_operations(generator, latents)
                return f"builds on the meta device, and its parts run there: {', '.join(parts)}"
            images = generator.synthesize(latents)
        except Exception as error:  # noqa: BLE001  # whatever a model raises there
            return f"skipped: FLOPs are not counted ({first_line(error)})"
        if images.device.type != "meta":
            msg = f"built for the meta device, its images are on {images.device.type}"
            raise ContractError(msg)
        return "builds and runs on the meta device"

    def check_state(self) -> str:
        """Save the state, build another with other weights, load it, compare images."""
        module = contract.module_of(self.built)
        if module is None:
            return "no nn.Module: nothing to save"
        first = contract.draw(self.built, contract.SEEDS)
        buffer = io.BytesIO()
        torch.save(module.state_dict(), buffer)
        buffer.seek(0)
        other = build(self.spec, dataclasses.replace(self.case, seed=1), "cpu")
        other_module = contract.module_of(other)
        if other_module is None:
            msg = "a second build has no nn.Module"
            raise ContractError(msg)
        other_module.load_state_dict(torch.load(buffer, weights_only=True))
        if not torch.equal(first, contract.draw(other, contract.SEEDS)):
            msg = "after state_dict and load_state_dict the images differ: some state is missing"
            raise ContractError(msg)
        return f"{len(module.state_dict())} tensors"


def check_extractor(extractor: FeatureExtractor) -> list[CheckResult]:
    """Return the result of every check of a feature extractor's contract."""
    source = torch.Generator().manual_seed(0)
    side = extractor.side or USUAL_SIDE
    pixels = torch.randint(0, 256, (3, 3, side, side), generator=source).float()

    def identity() -> str:
        missing = {"name", "weights_sha256", "features"} - set(extractor.identity)
        if missing:
            msg = f"its identity lacks {', '.join(sorted(missing))}"
            raise ContractError(msg)
        return str(dict[str, Any](extractor.identity))

    def shape() -> str:
        pooled = extractor(pixels).pooled
        if pooled.ndim != 2 or len(pooled) != len(pixels) or not pooled.isfinite().all():  # noqa: PLR2004  # batch, features
            msg = f"features {tuple(pooled.shape)}; expected ({len(pixels)}, D), all finite"
            raise ContractError(msg)
        told = extractor.identity.get("features")
        if pooled.shape[1] != told:
            msg = f"{pooled.shape[1]} features, but its identity says {told}"
            raise ContractError(msg)
        return f"{pooled.shape[1]} features"

    def resizing() -> str:
        resized(pixels, extractor.resize, side)
        return f"{extractor.resize} to {extractor.side or 'no fixed size'}"

    def independence() -> str:
        together, alone = extractor(pixels).pooled, extractor(pixels[1:2]).pooled
        difference = contract.relative_difference(alone[0], together[1])
        if difference > EXTRACTOR_TOLERANCE:
            msg = f"an image alone differs from its row of a batch by {difference:.1e}"
            raise ContractError(msg)
        return f"difference {difference:.1e}"

    checks = {
        "identity": identity,
        "resize": resizing,
        "shape, finite": shape,
        "batch independence": independence,
    }
    return [timed(name, check) for name, check in checks.items()]
