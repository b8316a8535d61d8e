"""What the shell completes: names of models, modes, suites, protocols, and a model's options."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import typer

from sfbench.hardware.devices import backends
from sfbench.values.case import BATCH_RULES, DTYPES, MEASURES, MODES
from sfbench.values.paths import model_names

Completer = Callable[..., list[str]]


def listed(words: Iterable[str], incomplete: str) -> list[str]:
    """Return completions of the last word of a list A,B,..., those that are in it left out."""
    before, comma, last = incomplete.rpartition(",")
    given = set(before.split(","))
    return [
        f"{before}{comma}{word}" for word in words if word.startswith(last) and word not in given
    ]


def single(words: Iterable[str], incomplete: str) -> list[str]:
    """Return the words that begin so."""
    return [word for word in words if word.startswith(incomplete)]


def catalogue() -> Any:
    """Return the installed models."""
    from sfbench.cli import defaults

    return defaults.catalogue([], [])


def models(incomplete: str) -> list[str]:
    """Return names of models; kinds end with a colon, after which a path follows."""
    found = catalogue().models
    names = [f"{model.name}:" if model.reference else model.name for model in found]
    return listed(sorted(names), incomplete)


def options(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return NAME= of the options of the models on the command line, or NAME=VALUE of its choices."""
    known = catalogue()
    asked = model_names(str(ctx.params.get("model") or ctx.params.get("a") or ""))
    found = dict.fromkeys(choices(known, asked))
    return single(found, incomplete)


def choices(known: Any, asked: Iterable[str]) -> Iterator[str]:
    """Yield the options of these models."""
    for name in asked:
        model = known.offered(name)
        for option in () if model is None else model.options:
            values = getattr(option, "choices", None) or ("",)
            yield from (f"{option.name}={value}" for value in values)


def suites(incomplete: str) -> list[str]:
    """Return the suites that are shipped."""
    from sfbench.run.suites import shipped_suites

    return single(shipped_suites(), incomplete)


def protocols(incomplete: str) -> list[str]:
    """Return the protocols, and the word for all of them."""
    from sfbench.quality.protocols import protocol_names

    return listed(["all", *protocol_names()], incomplete)


def extractors(incomplete: str) -> list[str]:
    """Return the feature extractors."""
    from sfbench.cli import listing

    found = listing.extractors(catalogue())
    return single(["auto", *(str(entry["name"]) for entry in found)], incomplete)


def words_of(*words: str) -> Completer:
    """Return what completes a list of these words."""

    def complete(incomplete: str) -> list[str]:
        return listed(words, incomplete)

    return complete


COMPLETERS: dict[str, Completer] = {
    "model": models,
    "option": options,
    "mode": words_of(*MODES),
    "dtype": words_of(*DTYPES),
    "measure": words_of(*MEASURES),
    "batch": words_of("1", "8", *BATCH_RULES),
    "device": words_of("auto", *backends()),
    "labels": words_of("uniform", "balanced", "data", "class:"),
    "weights": words_of("auto", "random"),
    "extractor": extractors,
}
"""What completes a flag of a request, by its name."""
