"""Whatever a document on disk holds, it is read, made again, or refused in one line."""

from __future__ import annotations

import copy
import json
import os
import random
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from making import a_record

from sfbench.api.errors import SfbenchError
from sfbench.catalogue import catalogue as catalogues
from sfbench.cli import sharing
from sfbench.data.prepared import PreparedImages
from sfbench.data.prepared_folder import META
from sfbench.quality import feature_store
from sfbench.quality.feature_store import FeatureStore
from sfbench.quality.reference_file import read_reference
from sfbench.report import frame
from sfbench.report.index import indexed
from sfbench.report.measurements import measurements
from sfbench.report.page import Beside, page
from sfbench.report.pairing import joined_records, paired
from sfbench.report.site import site
from sfbench.report.table import terminal
from sfbench.run.suites import read_suite
from sfbench.store import album
from sfbench.store.runs import Store, Unreadable, file_name, read
from sfbench.store.training_runs import read_asked, read_lines
from sfbench.train.state import load_state
from sfbench.values.records import Reading, Record, record_to_json

MUTATIONS = int(os.environ.get("SFBENCH_MUTATIONS", "60"))
"""Of each kind of document; nox -s fuzz asks for 2,000."""
ODD: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, 10**400, 1e308, "", "x", "\x1b[31mred\x1b[0m\nerror: forged", "\u202e",
    [], {}, [[]], {"a": {"b": []}}, "../../etc/passwd", "=1+1", "<script>", "a|b", 2**63, "é" * 300,
)  # fmt: skip
RAW: tuple[bytes, ...] = (
    b"", b"null", b"[]", b"5", b"{", b'"\\ud800"', b"[" * 200_000, b'{"a":' * 100_000, b"\xff\xfe",
    b"NaN", b'{"a": Infinity}', b"\x00" * 64,
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value inside a JSON value."""
    yield path
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for name, one in items:
        yield from places(one, (*path, name))


def mutated(document: Any, seed: int) -> bytes:
    """Return a document that is damaged in a way that its seed decides."""
    source = random.Random(seed)  # noqa: S311  # no secret
    if source.random() < 0.15:
        return source.choice(RAW)
    text = json.dumps(document).encode()
    if source.random() < 0.25:
        place = source.randrange(len(text))
        cut = source.choice([0, 1, len(text)])
        return (
            text[:place]
            + bytes([source.randrange(256)]) * source.randint(0, 3)
            + text[place + cut :]
        )
    changed = copy.deepcopy(document)
    for _ in range(source.randint(1, 3)):
        path = source.choice([one for one in places(changed) if one] or [()])
        if not path:
            break
        owner = changed
        for name in path[:-1]:
            owner = owner[name]
        if source.random() < 0.3:
            del owner[path[-1]]
        elif isinstance(owner, dict) and source.random() < 0.2:
            owner[source.choice(["\x1b[2J", "other", ""])] = owner.pop(path[-1])
        else:
            owner[path[-1]] = copy.deepcopy(source.choice(ODD))
    return json.dumps(changed).encode()


def fresh(folder: Path) -> Path:
    """Return a new folder: one example is tried more than once."""
    return Path(tempfile.mkdtemp(dir=folder))


def survives(read: Callable[[], Any]) -> Any:
    """Return what is read; a refusal must be one of ours, in one printable line."""
    try:
        return read()
    except SfbenchError as error:
        words = str(error)
    assert len(words.splitlines()) == 1
    assert words.isprintable()
    return None


mutations = settings(
    max_examples=MUTATIONS,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
HOW = {
    "extractor": {"name": "x", "weights_sha256": "ab"}, "generated": 9, "real": 9,
    "reference": {"name": "r", "sha256": "cd" * 32},
}  # fmt: skip
READINGS = (
    Reading(metric="throughput.core", value=10.0, low=9.0, high=11.0, samples=(9.0, 11.0), how={"batch": 8}),
    Reading(metric="memory.host_peak", value=1 << 30),
    Reading(metric="fd[x]", value=5.0, low=4.0, high=6.0, how=HOW),
    Reading(metric="fid", reason="no weights"),
)  # fmt: skip
PROVENANCE = {"machine": {"cpu": "c", "versions": {"torch": "2"}}, "commit": "abc", "flags": {}}
GOOD = a_record(
    READINGS, provenance=PROVENANCE, flags=("noisy",), case={"measure": ["speed", "quality"]}
)
DOCUMENT = json.loads(record_to_json(GOOD))


@given(seed=st.integers(0, 2**32))
@mutations
def test_one_bad_record_costs_nothing_but_itself(seed: int, tmp_path: Path) -> None:
    store = Store(fresh(tmp_path))
    store.prepare()
    (store.runs / file_name(GOOD)).write_text(record_to_json(GOOD))
    other = store.runs / "other.json"
    other.write_bytes(mutated(DOCUMENT, seed))
    loaded = read(other)
    if isinstance(loaded, Unreadable):
        assert len(loaded.reason.splitlines()) <= 1
        assert loaded.reason.isprintable()
    records, bad = store.load()
    assert len(records) + len(bad) == 2
    assert len(indexed(store, lambda *_: None).found) == len(records)
    rows = paired(frame.summary(measurements(records)))
    terminal(rows, [])
    joined_records(records)
    if seed % 4 == 0:  # a page takes a second
        assert GOOD.case["model"] in page(records, Beside(options={}), "title")
        assert dict(site(records, Beside(options={}), {}, "title"))
    for record in records:
        assert "\x1b" not in record_to_json(record)


def test_a_link_that_leads_nowhere_is_one_line(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.prepare()
    (store.runs / "gone.json").symlink_to(tmp_path / "nowhere")
    (store.runs / file_name(GOOD)).write_text(record_to_json(GOOD))
    assert [len(part) for part in store.load()] == [1, 1]
    found = indexed(store, lambda *_: None)
    assert len(found.found) == 1


@given(seed=st.integers(0, 2**32))
@mutations
def test_a_bundle_with_a_bad_record_adds_nothing(seed: int, tmp_path: Path) -> None:
    bundle = fresh(tmp_path) / "b.zip"
    with zipfile.ZipFile(bundle, "w") as file:
        file.writestr("records/a.json", mutated(DOCUMENT, seed))
        file.writestr("records/b.json", record_to_json(GOOD))
    folder = fresh(tmp_path)
    if survives(lambda: sharing.take_in(bundle, folder)) is None:
        assert not list(folder.rglob("*.json"))
    else:
        assert isinstance(Store(folder).load()[0][0], Record)


@given(seed=st.integers(0, 2**32))
@mutations
def test_a_prepared_folder_is_whole_or_refused(seed: int, tmp_path: Path) -> None:
    folder = fresh(tmp_path)
    np.save(folder / "images.npy", np.zeros((2, 3, 8, 8), np.uint8))
    meta = {
        "format": 1, "images": 2, "resolution": 8, "classes": 0, "sha256": "a" * 64,
        "source": {"name": "n", "kind": "zip of images"}, "crop": "center", "filter": "lanczos",
        "alpha": "error", "converted": {"gray": 1}, "rejected": [{"name": "x", "reason": "why"}],
    }  # fmt: skip
    (folder / META).write_bytes(mutated(meta, seed))
    images = survives(lambda: PreparedImages(folder))
    if images is not None:
        assert isinstance(images.sha256, str)
        assert all(isinstance(one["reason"], str) for one in images.meta["rejected"])


@given(seed=st.integers(0, 2**32))
@mutations
def test_statistics_are_sound_or_refused(seed: int, tmp_path: Path) -> None:
    about = {
        "name": "n",
        "extractor": {"name": "x", "weights_sha256": "ab", "resize": "none", "features": 2},
    }
    path = fresh(tmp_path) / "s.npz"
    text = mutated(about, seed).decode(errors="replace")
    np.savez(path, mu=np.zeros(2), sigma=np.eye(2), count=np.array(5), sfbench=np.array(text))
    found = survives(lambda: read_reference(path))
    if found is not None:
        assert isinstance(found.about.get("extractor", {}).get("name", ""), str)


@given(seed=st.integers(0, 2**32))
@mutations
def test_the_feature_store_lists_what_is_damaged(seed: int, tmp_path: Path) -> None:
    store = FeatureStore(fresh(tmp_path))
    place = store.folder / "set"
    place.mkdir(parents=True)
    meta = {"name": "n", "key": {"extractor": {"name": "x"}, "resize": "none"}}
    (place / feature_store.META).write_bytes(mutated(meta, seed))
    (row,) = store.sets()
    assert isinstance(row["name"], str)
    assert store.clear() == 1


@given(seed=st.integers(0, 2**32))
@mutations
def test_a_damaged_catalogue_is_made_again(seed: int, tmp_path: Path) -> None:
    answer = {
        "models": [], "checkpoints": [], "extractors": [], "files": {str(tmp_path): [0, 0]},
        "plugins": [{"name": "p", "origin": "o", "problem": None, "models": [], "extractors": []}],
    }  # fmt: skip
    file = fresh(tmp_path) / "c.json"
    file.write_bytes(mutated(answer, seed))
    found = catalogues.fresh(file)
    assert found is None or isinstance(found, catalogues.Catalogue)


@given(seed=st.integers(0, 2**32))
@mutations
def test_training_goes_on_from_what_is_whole(seed: int, tmp_path: Path) -> None:
    folder = fresh(tmp_path)
    asked = {"identity": "i", "asked": {"model": "m", "resolution": 8, "kimg": 1.0}}
    (folder / "run.json").write_bytes(mutated(asked, seed))
    found = survives(lambda: read_asked(folder))
    assert found is None or isinstance(found["asked"], dict)
    line = {"step": 1, "kimg": 0.5, "seconds_per_kimg": 3.0}
    (folder / "log.jsonl").write_bytes(mutated(line, seed) + b"\n" + json.dumps(line).encode())
    assert read_lines(folder)
    (folder / "state-0000000001.json").write_bytes(
        mutated({"step": 1, "sha256": "a", "rest": {"x": [1, {"y": None}]}}, seed)
    )
    survives(lambda: load_state(folder))
    pictures = {"subject": {"model": "m"}, "pictures": {"samples": {"caption": "c", "how": {}}}}
    (folder / album.ABOUT).write_bytes(mutated(pictures, seed))
    described = album.read(folder / album.ABOUT)
    assert described is None or all(
        isinstance(p["caption"], str) for p in described["pictures"].values()
    )


@given(seed=st.integers(0, 2**32))
@mutations
def test_a_suite_means_something_or_is_refused(seed: int, tmp_path: Path) -> None:
    source = random.Random(seed)  # noqa: S311  # no secret
    lines = [
        'title = "t"', "[scale.smoke]", "samples = 16", "[[run]]", 'model = "styleformer"', "res = 32",
        "seed = 1", 'option = { preset = "nano" }', "published = { fid = 2.8 }", 'dataset = "cifar10"',
    ]  # fmt: skip
    for _ in range(source.randint(1, 3)):
        place = source.randrange(len(lines))
        key = lines[place].partition("=")[0]
        odd = [
            "[1, {}]",
            "nan",
            "-1",
            '"\\u001b[2J"',
            "true",
            "1979-05-27",
            "{ a = 1 }",
            '"""x\ny"""',
            "9" * 400,
        ]
        lines[place] = source.choice(
            [f"{key}= {source.choice(odd)}", "", lines[place] * 2, "[[run]]"]
        )
    file = fresh(tmp_path) / "s.toml"
    file.write_text("\n".join(lines), encoding="utf-8")
    for scale in ("full", "smoke"):
        survives(lambda scale=scale: read_suite(str(file), scale))
