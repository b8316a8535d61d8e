"""Show what intervals and sequential verdicts of a difference are worth.

Draws two models' features and real ones from known Gaussians again and again. Prints, for each
number of images: how often the 95 % interval of the difference of two Frechet distances holds the
true one (goal: 93 to 97 %; up to 99.5 % with other seeds, where few images a feature make it too
wide), and its width over that of two unpaired intervals; then how often the sequential rule finds a
sign where there is none (goal: at most 5 %), and which share of the images it saves where the
difference is ten times what all of them resolve (goal: at least 80 %). Exits 1 where a goal is
missed.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys

import numpy as np
import torch

from sfbench.quality import sequential
from sfbench.quality.frechet import frechet_distance
from sfbench.quality.influences import Difference, Influences, difference
from sfbench.quality.paired import influences_of
from sfbench.quality.statistics import Matrix, Moments, Rows

ENDLESS = 1 << 40
COVERAGE = {True: (0.93, 0.97), False: (0.93, 0.995)}
"""With the same seeds, and with others."""
ERRORS, SAVED = 0.05, 0.8
MOST = 8000
DISTANCES = {"slightly": 0.2, "clearly": 1.0, "much": 3.0}
"""How far B is from A, in steps of the same direction."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Real images and two models, as factors of covariances [D, D] and means [D]."""

    real: Matrix
    a: tuple[Matrix, Matrix]
    b: tuple[Matrix, Matrix]

    @property
    def truth(self) -> float:
        """The difference of the distances of the populations."""
        real = moments(self.real, np.zeros(len(self.real)))
        return frechet_distance(moments(*self.b), real) - frechet_distance(moments(*self.a), real)


def moments(factor: Matrix, mean: Matrix) -> Moments:
    """Return a population."""
    return Moments(ENDLESS, mean, factor @ factor.T)


def world(width: int, step: float) -> World:
    """Return populations of so many features; `step`: how far B is from A."""
    source = np.random.default_rng(1)
    rotation, _ = np.linalg.qr(source.normal(size=(width, width)))
    spread = np.sqrt(np.geomspace(1, 0.01, width))
    first = rotation * (spread * np.sqrt(1.15)) + 0.02 * source.normal(size=(width, width))
    mean = np.full(width, 0.05)
    second = first + step * 0.02 * source.normal(size=(width, width))
    return World(real=rotation * spread, a=(first, mean), b=(second, mean * (1 + 0.1 * step)))


def drawn(factor: Matrix, mean: Matrix, noise: Matrix) -> Rows:
    """Return features of images whose seeds gave this noise."""
    return (noise @ factor.T + mean).astype(np.float32)


def sides(
    found: World, count: int, source: np.random.Generator, *, shared: bool
) -> tuple[Influences, Influences]:
    """Return both sides of one repeat; the seeds are shared or not."""
    width = len(found.real)
    noise = source.normal(size=(count, width))
    other = noise if shared else source.normal(size=(count, width))
    real = drawn(found.real, np.zeros(width), source.normal(size=(count, width)))
    a, b = influences_of(drawn(*found.a, noise), real), influences_of(drawn(*found.b, other), real)
    return a, b if shared else dataclasses.replace(b, images="others")


def intervals(width: int, count: int, repeats: int) -> bool:
    """Print coverage and width of the interval; return whether the goal is met."""
    good = True
    for word, step in DISTANCES.items():
        found = world(width, step)
        for shared in (True, False):
            source = np.random.default_rng(count)
            each: list[Difference] = []
            apart = []
            for _ in range(repeats):
                a, b = sides(found, count, source, shared=shared)
                each.append(difference(a, b))
                alone = dataclasses.replace(b, images="none", reference="none")
                apart.append(difference(a, alone).error)
            inside = np.mean([one.low <= found.truth <= one.high for one in each])
            ratio = np.mean([one.error for one in each]) / np.mean(apart)
            good &= COVERAGE[shared][0] <= inside <= COVERAGE[shared][1]
            seeds = "same seeds" if shared else "other seeds"
            print(
                f"{count:6} images, {word} apart, {seeds}: {inside:.3f} inside, "
                f"{ratio:.2f} of the width of unpaired intervals",
                flush=True,
            )
    return good


def stopped(found: World, source: np.random.Generator, *, shared: bool) -> sequential.Look:
    """Return the last look of one sequential comparison."""
    width = len(found.real)
    noise = source.normal(size=(MOST, width))
    other = noise if shared else source.normal(size=(MOST, width))
    real = drawn(found.real, np.zeros(width), source.normal(size=(MOST, width)))

    def of(count: int) -> tuple[Influences, Influences]:
        a = influences_of(drawn(*found.a, noise[:count]), real)
        b = influences_of(drawn(*found.b, other[:count]), real)
        return a, b if shared else dataclasses.replace(b, images="others")

    *_, last = sequential.until_certain(of, width, MOST)
    return last


def rule(width: int, repeats: int) -> bool:
    """Print errors and savings of the sequential rule; return whether the goals are met."""
    nothing = world(width, 0.0)
    source = np.random.default_rng(0)
    wrong = [stopped(nothing, source, shared=False).sign != "open" for _ in range(repeats)]
    print(f"equal models: a sign in {np.mean(wrong):.3f} of {repeats} comparisons", flush=True)
    step = 1.0
    for _ in range(6):
        a, b = sides(world(width, step), MOST, source, shared=True)
        one = difference(a, b)
        step *= 10 * one.smallest / abs(one.change)
    found = world(width, step)
    looks = [stopped(found, source, shared=True) for _ in range(50)]
    saved = 1 - np.mean([look.images for look in looks]) / MOST
    right = np.mean([look.sign == "higher" for look in looks])
    print(f"ten times what {MOST} images resolve: {saved:.3f} of them saved, {right:.2f} right")
    return bool(np.mean(wrong) <= ERRORS and saved >= SAVED and right == 1)


def main() -> None:
    """Print one line for each number of images, then the sequential rule."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=64, help="features")
    parser.add_argument("--repeats", type=int, default=500, help="repeats of an interval")
    parser.add_argument("--comparisons", type=int, default=1000, help="sequential comparisons")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    held = [intervals(asked.width, count, asked.repeats) for count in (500, 2000, 8000)]
    good = rule(asked.width, asked.comparisons) and all(held)
    sys.exit(not good)


if __name__ == "__main__":
    main()
