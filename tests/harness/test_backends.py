"""What the harness asks of a device, asked of every kind; kinds that are not here skip."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sfbench.api.errors import UnsupportedError, UsageError
from sfbench.hardware import host
from sfbench.hardware.backend import Backend
from sfbench.hardware.devices import accelerators, backends, find_backend, resolve
from sfbench.hardware.policy import TORCH_DTYPES, kept_settings, set_policy
from sfbench.speed.blocks import time_block
from sfbench.speed.memory import measure_memory
from sfbench.speed.roofline import measured_roofline

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.fast


@pytest.fixture(params=sorted(backends()))
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    kind = backends()[request.param]
    if not kind.present():
        pytest.skip(f"no device of kind {request.param} here")
    with kept_settings():
        yield kind()


def test_facts_name_the_device_without_torch(backend: Backend) -> None:
    assert all(facts["name"] for facts in backend.present())
    assert backend.processor()
    assert find_backend(backend.name).kind == backend.kind
    assert (backend.identity() is None) == (backend.kind not in _accelerated())


def _accelerated() -> set[str]:
    return {
        name
        for name, kind in backends().items()
        if any("driver" in facts for facts in kind.present())
    }


def test_tensors_reach_the_device_and_work_is_waited_for(backend: Backend) -> None:
    x = backend.upload(torch.ones(64, 64))
    assert x.device.type == backend.kind
    block = time_block(lambda: x @ x, 3, backend)
    assert block.seconds > 0
    assert block.device_seconds is None or 0 < block.device_seconds <= 1.5 * block.seconds


def test_every_precision_it_names_can_be_computed(backend: Backend) -> None:
    # int8 quantizes layers of a model: there is no arithmetic of its own (tests/extras).
    for precision in sorted(backend.precisions - {"int8"}):
        set_policy(backend, precision, 1)
        x = torch.ones(8, 8, device=backend.name, dtype=getattr(torch, TORCH_DTYPES[precision]))
        assert (x @ x).sum().item() == 512
    for precision in sorted({"fp32", "tf32", "bf16", "fp16", "fp8"} - backend.precisions):
        with pytest.raises(UnsupportedError, match=precision):
            set_policy(backend, precision, 1)


def test_peaks_hold_what_was_allocated_or_there_are_none(backend: Backend) -> None:
    backend.reset_peaks()
    block = torch.zeros(8 << 20, dtype=torch.uint8, device=backend.name)
    backend.synchronize()
    peaks = backend.peaks()
    assert peaks is None or peaks.reserved >= peaks.allocated >= block.numel()
    readings = {r.metric: r for r in measure_memory(block.sum, batch=1, backend=backend, loaded=1)}
    told = readings["memory.device_allocated_peak"]
    assert (told.value is None) == (peaks is None)
    assert told.value is not None or told.reason


def test_the_roof_is_measured(backend: Backend) -> None:
    small = type(backend)
    roof = measured_roofline(small(), torch.float32)
    assert roof.flops > 1e8
    assert roof.bandwidth > 1e8


def test_what_cannot_be_asked_is_none_and_never_zero(backend: Backend) -> None:
    for value in (backend.energy_joules(), backend.memory_ceiling(), backend.bytes_in_use()):
        assert value is None or value > 0
    assert backend.memory_limit_acts_on
    assert backend.energy_counter


def test_a_name_gives_the_kind_and_the_number() -> None:
    assert find_backend("cuda:1").name == "cuda:1"
    assert find_backend("cuda:0").name == find_backend("cuda").name == "cuda"
    for wrong in ("gpu", "cuda:x", "cuda:", "CPU", ""):
        with pytest.raises(UsageError, match="expected auto"):
            find_backend(wrong)


def test_a_device_that_is_not_here_is_refused_with_what_is() -> None:
    missing = [name for name, kind in backends().items() if not kind.present()]
    for name in missing:
        with pytest.raises(UnsupportedError, match=r"no such device here; there is .*cpu"):
            resolve(name)
    with pytest.raises(UnsupportedError, match="no such device here; the last is cpu:0"):
        resolve("cpu:1")
    assert resolve("auto").present()
    assert bool(accelerators()) == (resolve("auto").kind != "cpu")


def test_settings_are_put_back() -> None:
    before = torch.get_num_threads(), torch.backends.cudnn.benchmark, torch.get_default_dtype()
    with kept_settings():
        set_policy(find_backend("cpu"), "fp32", before[0] + 3)
        torch.set_default_dtype(torch.float64)
    assert before == (
        torch.get_num_threads(),
        torch.backends.cudnn.benchmark,
        torch.get_default_dtype(),
    )


@dataclasses.dataclass(frozen=True)
class Place:
    file: str
    line: int


def device_names(tree: ast.AST) -> Iterator[int]:
    """Yield the lines in which a device's name decides something: compared, looked up, matched."""
    kinds = set(backends())

    def named(node: ast.AST | None) -> bool:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value.partition(":")[0] in kinds
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            return any(map(named, node.elts))
        return False

    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and any(map(named, [node.left, *node.comparators])):
            yield node.lineno
        elif isinstance(node, ast.MatchValue) and named(node.value):
            yield node.value.lineno
        elif (isinstance(node, ast.Subscript) and named(node.slice) and _is_table(node.value)) or (
            isinstance(node, ast.Dict) and len(node.keys) > 1 and all(map(named, node.keys))
        ):
            yield node.lineno
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            looks = node.func.attr in {"startswith", "get"} and any(map(named, node.args))
            yield from [node.lineno] if looks else []


def _is_table(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id.isupper()


def test_nobody_outside_the_room_compares_a_devices_name() -> None:
    found = [
        Place(str(path.relative_to(ROOT)), line)
        for folder in ("sfbench", "plugins", "reference_models", "scripts")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "hardware" not in path.parts
        for line in device_names(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []
    assert list(device_names(ast.parse('if x.type != "cuda": pass'))) == [1]
    assert list(device_names(ast.parse('y = SIDES["cpu"]'))) == [1]


@pytest.mark.fast
def test_a_machine_id_leaves_as_a_salted_hash_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "0123456789abcdef0123456789abcdef"
    (tmp_path / "id").write_text(f"{text}\n")
    (tmp_path / "new").write_text("uninitialized\n")
    places = (tmp_path / "none", tmp_path / "new", tmp_path / "id")
    monkeypatch.setattr(host, "MACHINE_IDS", places)
    found = host.host_name_digest()
    assert found is not None
    assert len(found) == 12
    assert found not in text
    assert not hashlib.sha256(text.encode()).hexdigest().startswith(found)
    monkeypatch.setattr(host, "MACHINE_IDS", places[:2])
    assert host.host_name_digest() is None
