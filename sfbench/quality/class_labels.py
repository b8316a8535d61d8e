"""Labels of generated images: the rule that was asked for, as a generator and a data set allow it."""

from __future__ import annotations

import dataclasses

from sfbench.api.errors import UnsupportedError
from sfbench.api.labels import Conditional, Labels
from sfbench.api.protocols import Dataset, ImageGenerator


def classes_of(dataset: Dataset) -> list[int]:
    """Return the class of every image; raises UnsupportedError for a data set without classes."""
    found = dataset.labels(range(len(dataset)))
    if found is None:
        msg = f"labels: the images of {dataset.identity['name']} have no classes"
        raise UnsupportedError(msg)
    return found


def follow_labels(generator: ImageGenerator, labels: Labels, dataset: Dataset | None) -> str | None:
    """Make the generator draw labels by a rule, and return it in words; None of one that is silent.

    `dataset`: the real images, which only the rule "data" needs. Raises UnsupportedError where
    another rule than the uniform one is asked of a generator that cannot be told (see
    `sfbench.api.Conditional`), of classes it does not have, or of data without.
    """
    if not isinstance(generator, Conditional):
        if labels.rule != "uniform":
            msg = (
                f"--labels {labels.rule}: its plugin does not say how it draws labels; it must have "
                "`classes` and `use_labels` (sfbench.api.Conditional)"
            )
            raise UnsupportedError(msg)
        return None
    classes = generator.classes
    if not classes:
        if labels.rule == "class":
            msg = "--labels class:N: the model is unconditional, it has no classes"
            raise UnsupportedError(msg)
        return Labels().text(0)
    rule = labels
    if labels.rule == "data":
        there = [] if dataset is None else classes_of(dataset)
        counts = [0] * (max(there) + 1)
        for number in there:
            counts[number] += 1
        rule = dataclasses.replace(labels, counts=tuple(counts))
    rule.check(classes)
    generator.use_labels(rule)
    return rule.text(classes)
