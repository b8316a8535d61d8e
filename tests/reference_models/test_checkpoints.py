from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from reference_models import checkpoints, snapshots
from reference_models.equalized import initialize
from reference_models.styleformer import Styleformer
from reference_models.styleformer_c import StyleformerC, StyleformerCConfig
from reference_models.styleformer_config import StyleformerConfig
from reference_models.stylegan2 import StyleGAN2, StyleGAN2Config
from sfbench.api.pickles import PickleError

pytestmark = pytest.mark.fast
LOW = StyleformerConfig(widths=(16, 8), layers=(1, 1), z_dim=8, w_dim=8, head_width=4)
CONFIGS: dict[str, tuple[Any, Any]] = {
    "styleformer": (Styleformer, LOW),
    "styleformer-c": (StyleformerC, StyleformerCConfig(low=LOW, resolution=32, channel_base=64)),
    "stylegan2": (StyleGAN2, StyleGAN2Config(resolution=8, z_dim=8, w_dim=8, channel_base=64)),
}


def made(kind: str) -> tuple[Any, Any]:
    model_type, config = CONFIGS[kind]
    model = model_type(config)
    initialize(model, torch.Generator().manual_seed(0))
    return model.eval(), config


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_written_checkpoint_reads_back_with_its_architecture_and_bits(
    kind: str, tmp_path: Path
) -> None:
    model, config = made(kind)
    path = tmp_path / "model.safetensors"
    checkpoints.write_checkpoint(path, model, config)
    found = checkpoints.read_checkpoint(path)
    assert found.config == config
    again, _ = checkpoints.load_generator(config, path, seed=99)
    assert all(torch.equal(again.state_dict()[n], t) for n, t in model.state_dict().items())


@pytest.mark.parametrize("as_zip", [True, False])
def test_a_state_dict_is_read_with_weights_only(as_zip: bool, tmp_path: Path) -> None:
    model, config = made("styleformer")
    path = tmp_path / "model.pt"
    torch.save(model.state_dict(), path, _use_new_zipfile_serialization=as_zip)
    again, _ = checkpoints.load_generator(config, path, seed=1)
    z = torch.ones(1, 8)
    assert torch.equal(model(z), again.eval()(z))


@pytest.mark.parametrize(
    "content", [b"", b"hello, not weights", b"\x80\x04K\x01.", b"PK\x03\x04rubbish"]
)
def test_a_file_that_is_no_checkpoint_is_refused_in_one_line(
    content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        checkpoints.read_checkpoint(path)


def test_weights_of_another_size_family_or_resolution_are_refused(tmp_path: Path) -> None:
    model, config = made("styleformer")
    path = tmp_path / "model.safetensors"
    checkpoints.write_checkpoint(path, model, config)
    with pytest.raises(ValueError, match="holds a styleformer model"):
        checkpoints.load_generator(CONFIGS["stylegan2"][1], path, 0)
    wide = StyleformerConfig(widths=(16, 8, 8), layers=(1, 1, 1), z_dim=8, w_dim=8, head_width=4)
    with pytest.raises(ValueError, match="makes 16 px, 32 px"):
        checkpoints.load_generator(wide, path, 0)
    state = {name: t for name, t in model.state_dict().items() if "fc1" not in name}
    torch.save(state, tmp_path / "part.pt")
    with pytest.raises(ValueError, match=r"mapping.fc1.weight is missing \(and 1 more\)"):
        checkpoints.load_generator(config, tmp_path / "part.pt", 0)


class Stranger:
    """Asks for a global by name when unpickled, as a stored module does."""

    def __init__(self, module: str, name: str, *arguments: Any) -> None:
        self.module, self.name, self.arguments = module, name, arguments


class Writer(pickle._Pickler):  # the pure Python pickler can be extended
    """Writes strangers as calls of globals that need not exist here."""

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, Stranger):
            self.write(f"c{obj.module}\n{obj.name}\n".encode())
            super().save(obj.arguments, save_persistent_id)
            self.write(pickle.REDUCE)
        else:
            super().save(obj, save_persistent_id)


def pickled(content: Any, path: Path) -> Path:
    buffer = io.BytesIO()
    Writer(buffer, protocol=3).dump(content)
    path.write_bytes(buffer.getvalue())
    return path


def stored_tensor(values: torch.Tensor, size: tuple[int, ...], stride: tuple[int, ...]) -> Stranger:
    buffer = io.BytesIO()
    torch.save(
        torch.storage.TypedStorage(
            wrap_storage=values.untyped_storage(), dtype=values.dtype, _internal=True
        ),
        buffer,
        _use_new_zipfile_serialization=False,
    )
    storage = Stranger("torch.storage", "_load_from_bytes", buffer.getvalue())
    return Stranger(
        "torch._utils", "_rebuild_tensor_v2", storage, 0, size, stride, False, OrderedDict()
    )


def snapshot_of(tensor: Stranger) -> dict[str, Any]:
    state = {
        "_init_kwargs": {"z_dim": 4},
        "_parameters": {"weight": tensor},
        "_buffers": {},
        "_modules": {},
        "unknown": {1, 2},
    }
    meta = {"type": "class", "class_name": "Generator", "state": state, "module_src": "raise 1/0"}
    return {"G_ema": Stranger("torch_utils.persistence", "_reconstruct_persistent_obj", meta)}


def test_a_snapshot_is_read_without_running_its_source(tmp_path: Path) -> None:
    values = torch.arange(6.0)
    path = pickled(snapshot_of(stored_tensor(values, (2, 3), (3, 1))), tmp_path / "x.pkl")
    snapshot = snapshots.read_snapshot(path)
    assert snapshot.arguments == {"z_dim": 4}
    assert torch.equal(snapshot.tensors["weight"], values.reshape(2, 3))


def test_a_tensor_that_reaches_beyond_its_storage_is_refused(tmp_path: Path) -> None:
    stored = stored_tensor(torch.arange(6.0), (2, 4), (4, 1))
    path = pickled(snapshot_of(stored), tmp_path / "x.pkl")
    with pytest.raises(PickleError, match="reaches beyond its 6 stored values"):
        snapshots.read_snapshot(path)


def test_one_stored_value_cannot_stand_for_many(tmp_path: Path) -> None:
    stored = stored_tensor(torch.arange(6.0), (1 << 30,), (0,))
    with pytest.raises(PickleError, match="reaches beyond"):
        snapshots.read_snapshot(pickled(snapshot_of(stored), tmp_path / "x.pkl"))


@pytest.mark.parametrize(
    "target",
    [
        b"cdnnlib.util\nEasyDict\n",
        b"ctorch._utils\n_rebuild_parameter\n",
        b"cnumpy\ndtype\n",
    ],
)
@pytest.mark.parametrize("slots", [True, False])
def test_a_file_cannot_change_what_stands_for_its_globals(
    target: bytes, slots: bool, tmp_path: Path
) -> None:
    state = pickle.dumps((None, {"changed": 1}) if slots else {"changed": 1}, protocol=2)[2:-1]
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x02" + target + state + b"b.")
    with pytest.raises(PickleError, match=r"^it changes a Global: refused$"):
        snapshots.read_snapshot(path)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("posix", "system"),
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("torch", "load"),
        ("dnnlib.tflib.network", "Network"),
        ("collections", "OrderedDict.fromkeys"),
    ],
)
def test_any_other_global_is_refused_by_name_and_not_called(
    module: str, name: str, tmp_path: Path
) -> None:
    witness = tmp_path / "executed"
    path = pickled({"G_ema": Stranger(module, name, f"touch {witness}")}, tmp_path / "x.pkl")
    with pytest.raises(PickleError, match=rf"^it needs {module}\.{name}, "):
        snapshots.read_snapshot(path)
    assert not witness.exists()


def test_a_reference_outside_the_file_and_a_foreign_structure_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x03X\x02\x00\x00\x00idQ.")
    with pytest.raises(PickleError, match="outside the file"):
        snapshots.read_snapshot(path)
    with pytest.raises(ValueError, match="expected a dictionary with a network G_ema"):
        snapshots.read_snapshot(pickled((1, 2, 3), tmp_path / "tuple.pkl"))


def refused(content: Any, words: str, tmp_path: Path, network: str = "G_ema") -> None:
    path = pickled(content, tmp_path / "x.pkl")
    with pytest.raises(PickleError, match=words) as caught:
        snapshots.read_snapshot(path, network)
    assert "\n" not in str(caught.value)


def module_of(state: Any, **meta: Any) -> Stranger:
    known = {"type": "class", "class_name": "Generator", "state": state, "module_src": ""}
    return Stranger("torch_utils.persistence", "_reconstruct_persistent_obj", known | meta)


def state_with(**changes: Any) -> dict[str, Any]:
    plain = {"_init_kwargs": {}, "_parameters": {}, "_buffers": {}, "_modules": {}}
    return plain | changes


def test_every_network_of_a_snapshot_is_found_by_its_name(tmp_path: Path) -> None:
    first = stored_tensor(torch.arange(2.0), (2,), (1,))
    second = stored_tensor(torch.arange(2.0) + 5, (2,), (1,))
    content = {
        name: module_of(state_with(_init_kwargs={"n": name}, _buffers={"b": one}))
        for name, one in (("G_ema", first), ("D", second))
    }
    path = pickled(content, tmp_path / "x.pkl")
    assert snapshots.read_snapshot(path).arguments == {"n": "G_ema"}
    found = snapshots.read_snapshot(path, "D")
    assert found.arguments == {"n": "D"}
    assert found.tensors["b"].tolist() == [5, 6]
    refused(content, "it holds G_ema, D: expected a dictionary with a network G$", tmp_path, "G")


def test_parts_are_named_by_their_path_parameters_before_buffers(tmp_path: Path) -> None:
    one, two, three = (stored_tensor(torch.full((1,), float(n)), (1,), (1,)) for n in range(3))
    inner = module_of(state_with(_parameters={"w": three}))
    whole = state_with(
        _buffers={"b": two},
        _parameters={"p": one, "none": None},
        _modules={"in": inner, "no": None},
    )
    path = pickled({"G_ema": module_of(whole)}, tmp_path / "x.pkl")
    tensors = snapshots.read_snapshot(path).tensors
    assert {name: t.item() for name, t in tensors.items()} == {"p": 0, "b": 1, "in.w": 2}
    assert list(tensors) == ["p", "b", "in.w"]


def test_a_tensor_that_two_modules_share_stays_one(tmp_path: Path) -> None:
    shared = stored_tensor(torch.arange(3.0), (3,), (1,))
    whole = state_with(_parameters={"a": shared, "b": shared})
    path = pickled({"G_ema": module_of(whole)}, tmp_path / "x.pkl")
    tensors = snapshots.read_snapshot(path).tensors
    assert tensors["a"].data_ptr() == tensors["b"].data_ptr()


def test_what_is_no_snapshot_is_refused_in_one_line(tmp_path: Path) -> None:
    refused([1, 2], "it holds list: expected a dictionary with a network G_ema", tmp_path)
    refused({"G_ema": 3}, "it holds G_ema: expected", tmp_path)
    other = Stranger("dnnlib.util", "EasyDict")
    refused({"G_ema": other}, "it holds G_ema: expected", tmp_path)
    without = {"_parameters": {}, "_buffers": {}, "_modules": {}}
    refused({"G_ema": module_of(without)}, r"does not say what it was made with", tmp_path)
    words = "its network G_ema was made with a list: refused"
    refused({"G_ema": module_of(state_with(_init_kwargs=[1]))}, words, tmp_path)
    refused({"G_ema": module_of(None)}, "its module 'Generator' does not have", tmp_path)
    refused({"G_ema": module_of({})}, "its module 'Generator' does not have", tmp_path)
    bare = pickled({"G_ema": module_of({"_init_kwargs": {}})}, tmp_path / "bare.pkl")
    assert snapshots.read_snapshot(bare).tensors == {}  # what is not there is empty
    for kind in ("_parameters", "_buffers", "_modules"):
        broken = module_of(state_with(**{kind: [1]}))
        refused({"G_ema": broken}, "does not have the structure of one", tmp_path)
    unnamed = module_of(None, class_name=7)
    refused({"G_ema": unnamed}, "its module 'int' does not have", tmp_path)
    long = module_of(None, class_name="x" * 70)
    refused({"G_ema": long}, f"its module '{'x' * 60}' does not", tmp_path)
    nothing = Stranger("torch_utils.persistence", "_reconstruct_persistent_obj")
    refused({"G_ema": nothing}, "does not have the structure of one", tmp_path)


def test_a_tensor_of_anything_but_a_storage_is_refused(tmp_path: Path) -> None:
    for content, words in (
        (Stranger("torch.storage", "_load_from_bytes", "text"), "a tensor made of"),
        (b"bytes", "a tensor made of a bytes"),
        (Stranger("torch.storage", "_load_from_bytes", b"rubbish"), "^[^\n]+$"),
    ):
        made_of = Stranger(
            "torch._utils", "_rebuild_tensor_v2", content, 0, (1,), (1,), False, OrderedDict()
        )
        refused({"G_ema": module_of(state_with(_parameters={"w": made_of}))}, words, tmp_path)


def test_modules_nested_without_end_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        snapshots, "DEEPEST", 12
    )  # the pickler of this test recurses, the reader not
    inner = module_of(state_with())
    for _ in range(snapshots.DEEPEST):
        inner = module_of(state_with(_modules={"m": inner}))
    assert snapshots.read_snapshot(pickled({"G_ema": inner}, tmp_path / "x.pkl")).tensors == {}
    deeper = module_of(state_with(_modules={"m": inner}))
    refused({"G_ema": deeper}, "nested over 12 deep", tmp_path)
    many = state_with(_modules={str(number): module_of(state_with()) for number in range(4)})
    monkeypatch.setattr(snapshots, "MOST_NAMES", 4)
    refused({"G_ema": module_of(many)}, "are over 4", tmp_path)
    monkeypatch.setattr(snapshots, "MOST_NAMES", 5)
    snapshots.read_snapshot(pickled({"G_ema": module_of(many)}, tmp_path / "x.pkl"))


def test_a_file_over_the_limit_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pickled({"G_ema": module_of(state_with())}, tmp_path / "x.pkl")
    size = path.stat().st_size
    monkeypatch.setattr(snapshots, "FILE_LIMIT", size)
    snapshots.read_snapshot(path)
    monkeypatch.setattr(snapshots, "FILE_LIMIT", size - 1)
    with pytest.raises(PickleError, match=f"{size} bytes: expected at most {size - 1}"):
        snapshots.read_snapshot(path)


def test_dictionaries_of_every_kind_are_read(tmp_path: Path) -> None:
    weight = stored_tensor(torch.arange(2.0), (2,), (1,))
    state = OrderedDict(state_with(_parameters=OrderedDict(w=weight), _init_kwargs={"z": (1, 2)}))
    path = pickled(OrderedDict(G_ema=module_of(state)), tmp_path / "x.pkl")
    found = snapshots.read_snapshot(path)
    assert found.tensors["w"].tolist() == [0, 1]
    assert found.arguments == {"z": (1, 2)}
