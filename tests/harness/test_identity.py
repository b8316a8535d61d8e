"""What a result depends on: exactly what its steps can reach, and nothing else."""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from making import a_case, a_model

import sfbench
from sfbench.catalogue.reach import SourceTree, UnknownModuleError, tree_around, versions_of
from sfbench.run import identity
from sfbench.run.identity import Identities, measuring_code
from sfbench.trial.steps import STEPS
from sfbench.values.case import Source

PACKAGE = Path(sfbench.__file__).parent
NOTHING: frozenset[str] = frozenset()
TIMED = frozenset({"speed", "memory", "energy"})
JUDGED = frozenset({"quality", "features"})
ALL = TIMED | JUDGED
ROOMS = {
    "cli": NOTHING,
    "report": NOTHING,
    "train": NOTHING,
    "inspection": NOTHING,
    "speed": ALL - {"features"},
    "quality": JUDGED,
    "data": JUDGED,
    "run": TIMED,
    "trial": ALL - {"features"},
    "generators": ALL,
    "catalogue": ALL,
    "store": ALL,
    "hardware": ALL,
    "values": ALL,
    "api": ALL,
}
"""What a file of a room may move at the most; whether it does is told by what reaches it."""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tree") / "sfbench"
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def digests(tree: SourceTree) -> dict[str, str]:
    found = {
        name: measuring_code((name,), "cpu", "files", tree).digest
        for name in ("speed", "memory", "energy", "quality")
    }  # type: ignore[arg-type]  # measures
    features = (
        "sfbench.quality.features",
        "sfbench.data.dataset",
        "sfbench.data.containers.files",
        "sfbench.quality.inception",
    )
    return found | {"features": tree.reach(features).digest}


def changed(path: Path, content: bytes) -> None:
    """Write a file so that its time of change differs, too, however coarse the clock is."""
    path.write_bytes(content)
    later = time.time_ns() + changed.__dict__.setdefault("count", 0) * 1_000_000  # type: ignore[operator]
    changed.__dict__["count"] += 1
    os.utime(path, ns=(later, later))


def files(folder: Path) -> Iterator[Path]:
    yield from sorted(path for path in folder.rglob("*") if path.is_file())


def moved(tree: SourceTree, path: Path, content: bytes, before: dict[str, str]) -> set[str]:
    kept = path.read_bytes()
    try:
        changed(path, content)
        now = digests(tree)
    finally:
        changed(path, kept)
    return {name for name, digest in now.items() if digest != before[name]}


@pytest.mark.fast
def test_every_file_moves_what_its_room_may_move_and_a_comment_moves_nothing(copy: Path) -> None:
    tree = SourceTree({"sfbench": copy})
    before = digests(tree)
    seen: dict[str, set[str]] = {}
    for path in files(copy):
        name = path.relative_to(copy).as_posix()
        content = path.read_bytes()
        room = name.partition("/")[0] if "/" in name else ""
        may = ROOMS.get(room, ALL)
        if path.suffix == ".py":
            assert moved(tree, path, content + b"\n# a comment\n", before) == set(), name
            seen[name] = moved(tree, path, content + b"\nCHANGED = 1\n", before)
        else:
            seen[name] = moved(tree, path, content + b"\n", before)
        assert seen[name] <= may, name
    assert digests(tree) == before
    # The promises that were broken once: cards move quality and no feature, a metric that is judged
    # moves no speed, a probe of speed no quality.
    cards = [
        name for name in seen if name.startswith("quality/protocols/") and name.endswith(".toml")
    ]
    assert len(cards) > 10
    assert all(seen[name] == {"quality"} for name in cards)
    assert seen["quality/embedded/cifar-cnn7.safetensors"] == {"quality"}
    assert seen["quality/kernel.py"] == {"quality"}
    assert seen["quality/resizing.py"] == JUDGED
    assert seen["quality/explain.py"] == set()
    assert seen["values/metrics.py"] == set()
    assert seen["speed/energy.py"] == {"energy"}
    assert seen["speed/latency.py"] >= {"speed"}
    assert seen["run/search.py"] == TIMED
    # A device moves what was measured on it, and nothing else.
    assert seen["hardware/devices/cpu.py"] >= TIMED
    assert seen["hardware/devices/cuda.py"] == seen["hardware/devices/mps.py"] == set()
    assert seen["data/containers/files.py"] == JUDGED
    assert seen["data/containers/parquet.py"] == set()
    assert seen["values/records.py"] >= TIMED | {"quality"}
    assert seen["catalogue/registry.py"] >= TIMED | {"quality"}
    # No room that measures is passed over as a whole.
    for room in ("speed", "quality", "data", "trial", "api"):
        assert any(seen[name] for name in seen if name.startswith(f"{room}/")), room


@pytest.mark.fast
@pytest.mark.parametrize(
    ("edit", "moves"),
    [
        (lambda s: s.replace('"""Return', '"""Give back'), False),
        (lambda s: s.replace("\n\n\n", "\n\n\n\n"), False),
        (lambda s: s + "\n'a string that stands alone'\n", False),
        (lambda s: s + "\nF = dict(help='words', value=1)\n", True),
        (lambda s: s.replace("np.", "numpy."), True),
    ],
)
def test_docstrings_and_layout_are_no_code(
    edit: Callable[[str], str], moves: bool, copy: Path
) -> None:
    tree = SourceTree({"sfbench": copy})
    before = digests(tree)
    path = copy / "quality" / "kernel.py"
    text = path.read_text()
    assert edit(text) != text
    assert bool(moved(tree, path, edit(text).encode(), before)) is moves


@pytest.mark.fast
def test_what_a_flag_says_of_itself_is_no_code(copy: Path) -> None:
    tree = SourceTree({"sfbench": copy})
    before = digests(tree)
    path = copy / "values" / "case.py"
    text = path.read_text()
    other = text.replace("Seed for initial weights", "The seed of initial weights")
    assert other != text
    assert not moved(tree, path, other.encode(), before)
    assert moved(tree, path, text.replace("least=0", "least=1").encode(), before)


@pytest.mark.fast
def test_every_step_is_in_a_module_of_its_own_part() -> None:
    homes: dict[str, set[str]] = {}
    for step in STEPS:
        homes.setdefault(step.run.__module__, set()).add(step.part)
    assert all(len(parts) == 1 for parts in homes.values()), homes


@pytest.mark.fast
def test_a_name_that_is_no_module_is_an_error(copy: Path) -> None:
    with pytest.raises(UnknownModuleError, match=r"sfbench\.nothing is not a module"):
        SourceTree({"sfbench": copy}).reach(["sfbench.nothing"])


@pytest.mark.fast
def test_imports_of_every_form_are_followed(tmp_path: Path) -> None:
    package = tmp_path / "p"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.lazy import Thing\n"
        "def __getattr__(name): ...\n"
    )
    (package / "lazy.py").write_text("Thing = 1\n")
    (package / "inner" / "__init__.py").write_text("")
    (package / "inner" / "table.csv").write_text("1,2\n")
    (package / "inner" / "near.py").write_text("from .. import far\n")
    (package / "far.py").write_text("import numpy as np\n")
    (package / "unused.py").write_text("")
    (package / "types.py").write_text("")
    (package / "start.py").write_text(
        "from __future__ import annotations\nfrom typing import TYPE_CHECKING\n"
        "from p import Thing\n"
        "if TYPE_CHECKING:\n    from p import types\nelse:\n    from p.inner import near\n"
        "def f():\n    import scipy.stats\n"
    )
    found = SourceTree({"p": package}).reach(["p.start"])
    assert set(found.modules) == {"p", "p.start", "p.lazy", "p.inner", "p.inner.near", "p.far"}
    assert [path.name for path in found.data] == ["table.csv"]
    assert found.packages >= {"numpy", "scipy"}
    assert set(versions_of(found.packages)) == {"numpy", "scipy"}
    assert set(versions_of({"PIL", "pynvml"})) == {"pillow", "nvidia-ml-py"}


@pytest.mark.fast
def test_data_of_a_package_without_modules_counts_once_it_is_imported(tmp_path: Path) -> None:
    (tmp_path / "p" / "cards").mkdir(parents=True)
    for name in ("", "cards"):
        (tmp_path / "p" / name / "__init__.py").write_text("")
    (tmp_path / "p" / "cards" / "a.toml").write_text("")
    (tmp_path / "p" / "m.py").write_text("from p import cards\n")
    tree = SourceTree({"p": tmp_path / "p"})
    assert [path.name for path in tree.reach(["p.m"]).data] == ["a.toml"]


@pytest.mark.fast
def test_what_a_plugin_builds_on_in_this_package_is_a_part_of_its_code(tmp_path: Path) -> None:
    (tmp_path / "plugin.py").write_text("from sfbench.api import ModuleGenerator\n")
    reach = tree_around({"plugin": tmp_path / "plugin.py"}).reach(["plugin"])
    assert "sfbench.api.module_generator" in reach.modules
    assert "sfbench.cli" not in reach.modules


@pytest.mark.fast
def test_a_plugin_file_is_the_same_wherever_it_lies(tmp_path: Path) -> None:
    found = set()
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "plugin.py").write_text("X = 1\n")
        (tmp_path / folder / "old.py").write_text("print 1\n")
        name = f"loaded_as_{folder}"
        found.add(tree_around({name: tmp_path / folder / "plugin.py"}).reach([name]).digest)
    assert len(found) == 1


@pytest.mark.fast
def test_what_lies_beside_a_plugin_file_counts_once_it_is_imported(tmp_path: Path) -> None:
    (tmp_path / "plugin.py").write_text("import helper\n")
    (tmp_path / "helper.py").write_text("X = 1\n")
    (tmp_path / "other.py").write_text("X = 1\n")

    def digest() -> str:
        return tree_around({"plugin": tmp_path / "plugin.py"}).reach(["plugin"]).digest

    before = digest()
    changed(tmp_path / "other.py", b"X = 2\n")
    assert digest() == before
    changed(tmp_path / "helper.py", b"X = 2\n")
    assert digest() != before


CASE = a_case(
    data=Source(kind="shapes"),
    extractor=Source(kind="cifar-cnn7", sha256="0" * 64),
    measure=("quality",),
    samples=16,
    threads=1,
)
MACHINE = {"cpu": "x", "versions": {"python": "3.11.7", "torch": "2", "timm": "1"}}


@pytest.mark.fast
def test_an_identity_moves_with_case_code_machine_and_python(copy: Path) -> None:
    tree = SourceTree({"sfbench": copy})
    before = Identities(MACHINE, tree).of(CASE, a_model())
    assert Identities(MACHINE, tree).of(CASE, a_model()) == before
    others = [
        Identities(MACHINE, tree).of(dataclasses.replace(CASE, samples=17), a_model()),
        Identities(MACHINE, tree).of(CASE, a_model(code_sha256="2")),
        Identities(MACHINE, tree).of(CASE, a_model(packages=("timm",))),
        Identities(MACHINE | {"cpu": "y"}, tree).of(CASE, a_model()),
        Identities({"cpu": "x", "versions": {"python": "3.12.0"}}, tree).of(CASE, a_model()),
        Identities(MACHINE, tree).of(CASE, a_model(), {"code_sha256": "3", "packages": []}),
    ]
    assert len({before, *others}) == 7
    # A package that neither the harness nor the model imports moves nothing.
    assert (
        Identities({"cpu": "x", "versions": {"python": "3.11.7"}}, tree).of(CASE, a_model())
        == before
    )


@pytest.mark.fast
def test_versions_count_of_every_package_that_takes_part(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[set[str]] = []
    monkeypatch.setattr(identity, "versions_of", lambda names: asked.append(set(names)))
    known = Identities(MACHINE, SourceTree({"sfbench": copy}))
    extractor = {"code_sha256": "3", "packages": ["clip"]}
    timed = dataclasses.replace(CASE, measure=("speed",), mode="compile-max-autotune")
    known.of(CASE, a_model(packages=("timm",)), extractor)
    known.of(timed, a_model(packages=("timm",)), extractor)
    known.of(dataclasses.replace(timed, mode="cuda-graph"), a_model())
    judged, compiled, graphed = asked
    assert {"torch", "timm", "clip"} < judged
    assert {"torch", "timm"} | identity.COMPILERS < compiled
    assert "clip" not in compiled
    assert not identity.COMPILERS & graphed


@pytest.mark.fast
def test_the_commit_is_that_of_the_checkout_and_says_whether_it_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "sfbench" / "identity.py"
    here.parent.mkdir()
    here.write_text("1")
    monkeypatch.setattr(identity, "__file__", str(here))
    commit = identity.commit.__wrapped__
    assert commit() is None
    made = ("-c", "user.name=n", "-c", "user.email=e", "commit", "-qm", "one")
    for words in (("init", "-q"), ("add", "."), made):
        assert identity.git(tmp_path, *words) == ""
    assert str(commit()) == identity.git(tmp_path, "rev-parse", "--short=12", "HEAD")
    (tmp_path / "untracked").write_text("1")
    assert not str(commit()).endswith("+")
    here.write_text("2")
    assert str(commit()).endswith("+")
    assert identity.git(tmp_path, "no-such-command") is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert identity.git(tmp_path, "status") is None
