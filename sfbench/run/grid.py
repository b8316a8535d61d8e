"""From a request to a Plan: every value is checked, and all errors are raised at once."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sfbench.api.errors import DataError, PluginError, SfbenchError, UsageError, WeightsError
from sfbench.api.images import ImageCollection
from sfbench.api.labels import parse_labels
from sfbench.api.spec import DIGESTED, Option
from sfbench.catalogue.catalogue import Catalogue, Model
from sfbench.catalogue.named_code import code_digest
from sfbench.data import sources
from sfbench.hardware.backend import Backend
from sfbench.hardware.devices import AUTO, find_backend, resolve
from sfbench.hardware.host import cpu_count
from sfbench.quality import extractors
from sfbench.run.default_samples import default_samples
from sfbench.run.trained import is_run, weights_of_run
from sfbench.store.content import content_sha256, file_sha256
from sfbench.values.case import (
    BATCH_RULES,
    DTYPES,
    HANDED_ON,
    MEASURES,
    MODES,
    UNIFORM,
    BatchRule,
    Case,
    Measure,
    Request,
    Source,
)
from sfbench.values.paths import model_names, pairs_of, path_of
from sfbench.values.plan import Plan
from sfbench.values.records import digest
from sfbench.values.sizes import Size, parse_sizes
from sfbench.values.sweeps import Sweep, combinations, parse_sweeps

MOST_CASES = 10_000
JUDGED_BATCH = 8
"""Batch size for quality if every requested batch size is searched."""


class PlanError(UsageError):
    """All errors of a request, one per line."""

    def __init__(self, complaints: Sequence[SfbenchError]) -> None:
        self.lines = list(dict.fromkeys(map(str, complaints)))
        super().__init__(*self.lines)
        self.about_plugins = any(isinstance(one, PluginError) for one in complaints)

    def __str__(self) -> str:
        """Return all of them."""
        return "\n".join(self.lines)


def make_plan(
    requests: Sequence[Request],
    catalogue: Catalogue,
    *,
    torch_home: Path,
    trials: int,
    timeout_seconds: float,
    elsewhere: bool = False,
) -> Plan:
    """Return the plan; raises PlanError with all errors of all requests.

    `elsewhere`: it is carried out on other machines; a device need not be here.
    """
    complaints: list[SfbenchError] = []
    cases: dict[str, Case] = {}
    for request in requests:
        grid = Grid(
            request, catalogue, torch_home, complaints, find_backend if elsewhere else resolve
        )
        for case in grid.cases():
            cases.setdefault(case.key(), case)
    if trials < 1:
        complaints.append(UsageError(f"--trials {trials}: expected 1 or more"))
    if not timeout_seconds > 0:
        complaints.append(UsageError(f"--timeout {timeout_seconds:g}: expected seconds above 0"))
    if len(cases) > MOST_CASES:
        complaints.append(UsageError(f"{len(cases)} cases: expected at most {MOST_CASES}"))
    if complaints:
        raise PlanError(complaints)
    return Plan(cases=tuple(cases.values()), trials=trials, timeout_seconds=timeout_seconds)


def parts_of(
    batches: Sequence[tuple[int, BatchRule]], measures: Sequence[Measure], model: Model
) -> list[tuple[int, BatchRule, tuple[Measure, ...]]]:
    """Return the trials of a case, each with its batch and its measures.

    Speed, memory and energy of every batch are one trial, in the protocol's order. Quality is a
    separate trial, once for all batches: an image depends only on its seed. So a change of one
    never invalidates a measurement of the other. For existing images only quality is measured.
    """
    fixed = [pair for pair in batches if pair[1] == "fixed"]
    judged = fixed[:1] or [(JUDGED_BATCH, "fixed")]
    if not model.synthesizes:
        return [(batch, rule, tuple(measures)) for batch, rule in judged]
    timed = tuple(measure for measure in measures if measure != "quality")
    found: list[tuple[int, BatchRule, tuple[Measure, ...]]] = []
    if timed:
        found += [(batch, rule, timed) for batch, rule in batches]
    if "quality" in measures:
        found += [(batch, rule, ("quality",)) for batch, rule in judged]
    return found


def content_of(model: Model, option: Option, text: str) -> str:
    """Return the digest of what an option names.

    Raises DataError if there is nothing, UsageError for code that is not there.
    """
    if option.kind == "code":
        return code_digest(text, Path.cwd())
    path = Path(text)
    if option.kind == "images":
        return ImageCollection(path).sha256()
    try:
        return content_sha256(path)
    except DataError as error:
        named = model.name if option.name in model.bound else f"--option {option.name}={path}"
        msg = f"{named}: {str(error).removeprefix(f'{path}: ')}"
        raise DataError(msg) from None


class Grid:
    """Expands one request; errors are collected in `complaints`, not raised one by one."""

    def __init__(
        self,
        request: Request,
        catalogue: Catalogue,
        torch_home: Path,
        complaints: list[SfbenchError],
        find_device: Callable[[str], Backend] = resolve,
    ) -> None:
        self.request = request
        self.find_device = resolve if request.device == AUTO else find_device
        self.catalogue = catalogue
        self.torch_home = torch_home
        self.complaints = complaints

    def tried(self, function: Any, *arguments: Any) -> Any:
        """Return the function's value, or None after recording its error."""
        try:
            return function(*arguments)
        except SfbenchError as error:
            self.complaints.append(error)
            return None

    def cases(self) -> Iterator[Case]:
        """Yield the cases, if everything about the request is right."""
        request = self.request
        before = len(self.complaints)
        backend = self.tried(self.find_device, request.device)
        sizes: tuple[Size, ...] = self.tried(parse_sizes, request.res) or ()
        self.tried(parse_labels, request.labels)
        measures = self.words("measure", request.measure, MEASURES)
        dtypes = self.words("dtype", request.dtype, DTYPES)
        modes = self.words("mode", request.mode, MODES)
        batches = self.batches(request.batch)
        quality = "quality" in measures
        data = self.tried(sources.locate, request.data) if quality else Source(kind="none")
        extractor = Source(kind="none")
        if quality:
            extractor = self.tried(
                extractors.choose,
                request.extractor,
                request.extractor_weights,
                self.torch_home,
                extractors.offers(self.catalogue.extractors),
            )
        models = [self.tried(self.usable, name) for name in model_names(request.model)]
        sweeps = self.tried(parse_sweeps, request.sweep) or []
        chosen = [
            self.with_options(model, len(models), swept)
            for model in models
            if model is not None
            for swept in self.swept(model, len(models), sweeps)
        ]
        self.check_counts()
        timing = self.tried(request.timing)
        self.check_names([model for model in models if model is not None])
        for (model, _), size in itertools.product(filter(None, chosen), sizes):
            self.check_resolution(model, size)
        if len(self.complaints) > before:
            return
        samples = request.samples or default_samples(backend, data, extractor)
        threads = request.threads or cpu_count()
        for (model, options), size in itertools.product(chosen, sizes):
            option_sources = self.option_sources(model, options)
            found = self.tried(self.find_weights, model, size, options, dict(option_sources))
            if len(self.complaints) > before:
                continue
            kinds = parts_of(batches, [m for m in MEASURES if m in measures], model)
            for (batch, rule, asked), dtype, mode in itertools.product(kinds, dtypes, modes):
                decided = {
                    "model": model.name,
                    "resolution": size.height,
                    "width": None if size.is_square else size.width,
                    "labels": request.labels if "quality" in asked else UNIFORM,
                    "options": options,
                    "option_sources": option_sources,
                    "weights": found,
                    "batch": batch,
                    "batch_rule": rule,
                    "dtype": dtype,
                    "mode": mode,
                    "device": backend.name,
                    "data": data,
                    "extractor": extractor,
                    "measure": asked,
                    "samples": samples,
                    "threads": threads,
                    "train_kimg": request.train_kimg if found.kind == "random" else None,
                    "timing": timing,
                }
                given = {name: getattr(request, name) for name in HANDED_ON}
                yield Case(**given | decided)

    def usable(self, name: str) -> Model:
        """Return a model that can be loaded here, as far as can be said without loading it."""
        model = self.catalogue.model(name)
        model.check_usable(trusted=self.request.trust)
        return model

    def words(self, flag: str, text: str, known: Sequence[str]) -> list[Any]:
        """Return the comma-separated words of a flag, each of them known."""
        given = text.split(",")
        for word in given:
            if word not in known:
                msg = f"--{flag} {word}: expected {', '.join(known)}"
                self.complaints.append(UsageError(msg))
        return [word for word in dict.fromkeys(given) if word in known]

    def batches(self, text: str) -> list[tuple[int, BatchRule]]:
        """Return the batch sizes of --batch, each with its rule; 0 if it is searched."""
        found: list[tuple[int, BatchRule]] = []
        for part in text.split(","):
            if part in BATCH_RULES:
                found.append((0, "max-fit" if part == "max-fit" else "best-throughput"))
            elif part.strip().isdecimal() and int(part) > 0:
                found.append((int(part), "fixed"))
            else:
                msg = (
                    f"--batch {part!r}: expected whole numbers from 1, max-fit or best-throughput, "
                    "e.g. 8 or 1,8,max-fit"
                )
                self.complaints.append(UsageError(msg))
        return list(dict.fromkeys(found))

    def check_counts(self) -> None:
        """Record an error for counts and seeds beyond their bounds."""
        kimg = self.request.train_kimg
        if kimg is not None and not kimg > 0:
            msg = f"--train-kimg {kimg:g}: expected thousands of images, above 0"
            self.complaints.append(UsageError(msg))
        if kimg is not None and "quality" not in self.request.measure.split(","):
            msg = "--train-kimg: training serves quality only; add it to --measure or omit this"
            self.complaints.append(UsageError(msg))
        for field in dataclasses.fields(self.request):
            value = getattr(self.request, field.name)
            least, most = (field.metadata[bound] for bound in ("least", "most"))
            if value is not None and least is not None and value < least:
                msg = f"--{field.name} {value}: expected a number of {least} or more"
                self.complaints.append(UsageError(msg))
            if value is not None and most is not None and value > most:
                msg = f"--{field.name} {value}: expected at most {most}"
                self.complaints.append(UsageError(msg))

    def swept(self, model: Model, models: int, sweeps: Sequence[Sweep]) -> list[dict[str, str]]:
        """Return the combinations of swept options; with several models, each takes those it has."""
        own = [s for s in sweeps if models == 1 or any(s.name == o.name for o in model.options)]
        return combinations(own)

    def with_options(
        self, model: Model, models: int, swept: Mapping[str, str]
    ) -> tuple[Model, dict[str, Any]] | None:
        """Return the model with its options; with several models, each takes those it has."""
        given: dict[str, str] = dict(swept)
        for text in self.request.option:
            name, equals, value = text.partition("=")
            if not equals:
                self.complaints.append(UsageError(f"--option {text}: expected NAME=VALUE"))
                continue
            if name in swept:
                msg = f"--option {text}: {name} is swept, too; give one of both"
                self.complaints.append(UsageError(msg))
            elif models == 1 or any(option.name == name for option in model.options):
                given[name] = value
        options = self.tried(model.resolve, given)
        return None if options is None else (model, options)

    def check_names(self, models: Sequence[Model]) -> None:
        """Record an error for options that no model has, and weights of models not requested."""
        if len(models) > 1:
            options = {option.name for model in models for option in model.options}
            given = [("option", text) for text in self.request.option]
            given += [("sweep", text) for text in self.request.sweep]
            for flag, text in given:
                name = text.partition("=")[0]
                if name not in options:
                    msg = f"--{flag} {text}: none of the models has an option {name}"
                    self.complaints.append(UsageError(msg))
        weights = self.request.weights
        if self.pairs() is None and "=" in weights and not path_of(weights).exists():
            name = weights.partition("=")[0]
            msg = f"--weights {weights}: no such file, and model {name} is not among --model"
            self.complaints.append(UsageError(msg))

    def pairs(self) -> dict[str, str] | None:
        """Return the weights of each model, if --weights names models."""
        found: dict[str, str] | None = self.tried(
            pairs_of, self.request.weights, model_names(self.request.model), "--weights"
        )
        return found

    def check_resolution(self, model: Model, size: Size) -> None:
        """Record an error for a size that the model does not support."""
        sides = model.resolutions
        if sides and (size.height not in sides or not size.is_square):
            there = ", ".join(map(str, sides))
            msg = f"model {model.name} does not support {size} px; expected {there}"
            self.complaints.append(UsageError(msg))

    def option_sources(
        self, model: Model, options: Mapping[str, Any]
    ) -> tuple[tuple[str, str], ...]:
        """Return the content digests of options that name files or folders."""
        found = []
        for option in (one for one in model.options if one.kind in DIGESTED):
            text = options[option.name]
            if text:
                found.append((option.name, str(self.tried(content_of, model, option, text))))
            elif option.default is None:
                named = f"is written {model.written}, or " if option.name == model.reference else ""
                msg = f"model {model.name} {named}needs --option {option.name}=FILE or FOLDER"
                self.complaints.append(UsageError(msg))
        return tuple(found)

    def find_weights(
        self,
        model: Model,
        size: Size,
        options: Mapping[str, Any],
        contents: Mapping[str, str],
    ) -> Source:
        """Return a given file, else a shipped checkpoint, else random initialization.

        `--weights` is "auto", "random", FILE, or comma-separated MODEL=FILE pairs. `contents`:
        digests of options; one of them may be the weights.
        """
        text, pairs = self.request.weights, self.pairs()
        if pairs is not None:
            text = pairs.get(model.name, "auto")
        named = [o.name for o in model.options if o.weights and o.name in contents]
        several = len(model_names(self.request.model)) > 1
        if named and text != "auto" and not (several and text == "random"):
            msg = f"--weights {text}: --option {named[0]} of model {model.name} names them, too"
            raise UsageError(msg)
        if named:
            digests = [contents[name] for name in named]
            return Source(kind="option", sha256=digests[0] if len(named) == 1 else digest(digests))
        if not model.synthesizes:
            return Source(kind="none")
        if text == "auto":
            return self.shipped(model, size.height, options)
        if text == "random":
            return Source(kind="random")
        path = path_of(text)
        path = weights_of_run(path) if is_run(path) else path
        if not path.exists():
            msg = f"--weights {text}: no such file; give a file, a training run, auto or random"
            raise UsageError(msg)
        return Source(kind="file", path=str(path.resolve()), sha256=content_sha256(path))

    def shipped(self, model: Model, resolution: int, options: Mapping[str, Any]) -> Source:
        """Return a shipped checkpoint for that resolution and options, if there is one."""
        for card in self.catalogue.checkpoints:
            file = card["file"]
            same = card["model"] == model.name and card["resolution"] == resolution
            fits = all(options.get(name) == value for name, value in card["options"].items())
            if same and fits and file and Path(file).is_file():
                found = file_sha256(Path(file))
                if card["sha256"] not in {None, found}:
                    msg = (
                        f"{file}: damaged (sha256 {found[:12]}..., expected "
                        f"{card['sha256'][:12]}...); install sfbench again, or --weights random"
                    )
                    raise WeightsError(msg)
                return Source(kind="shipped", path=file, sha256=found)
        return Source(kind="random")
