"""Programs of torch.export: they run as they were exported, and nothing else in their file runs."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from graph_making import SIDE, WIDTH, Tiny, built, exported_file, images_of, tampered, with_program

from sfbench.api.errors import UnsupportedError, WeightsError
from sfbench_exported import sfbench_generators
from sfbench_exported.expressions import check_expression
from sfbench_exported.operators import check_operator
from sfbench_exported.refusal import RefusedError

EXPORTED, SCRIPT = sfbench_generators()
Change = Callable[[dict[str, bytes]], None]
MARK = "sfbench-was-here"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported_file(tmp_path_factory.mktemp("exported") / "g.pt2")


@pytest.mark.fast
def test_images_are_those_of_the_module(program: Path) -> None:
    made = built(EXPORTED, file=str(program))
    module = Tiny()
    for count in (1, 2, 5):
        latents = made.draw_latents(range(count))
        with torch.inference_mode():
            assert torch.equal(made.synthesize(latents), module(latents.z))
    assert made.architecture["inputs"]["latent"] == "z float32[?, 12]"
    assert sum(p.numel() for p in made.module.parameters()) == sum(
        p.numel() for p in module.parameters()
    )


@pytest.mark.fast
def test_it_runs_on_the_meta_device_and_in_one_precision(program: Path) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    made = built(EXPORTED, file=str(program), device="meta")
    with FlopCounterMode(display=False) as counter:
        assert images_of(made, range(1)).device.type == "meta"
    assert counter.get_total_flops() == 2 * WIDTH * 3 * SIDE * SIDE
    with pytest.raises(UnsupportedError, match="holds fp32 weights: use --dtype fp32, not bf16"):
        built(EXPORTED, file=str(program), dtype="bfloat16")


class Evil:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.path, "x"))


def node(program: Any, target: str) -> Any:
    return next(n for n in program["graph_module"]["graph"]["nodes"] if target in n["target"])


def code(path: Path) -> str:
    return f"__import__('pathlib').Path('{path}').write_text('x')"


def sizes(program: Any, text: str) -> None:
    values = program["graph_module"]["graph"]["tensor_values"]
    for value in values.values():
        for size in value["sizes"]:
            if "as_expr" in size:
                size["as_expr"]["expr_str"] = text


def renamed(program: Any, new: str) -> None:
    text = json.dumps(program).replace('"z"', json.dumps(new))
    program.clear()
    program.update(json.loads(text))


def in_tree(program: Any, kind: str) -> None:
    signature = program["graph_module"]["module_call_graph"][0]["signature"]
    tree = json.loads(signature["in_spec"])
    tree[1]["children_spec"][0]["type"] = kind
    signature["in_spec"] = json.dumps(tree)


def first_parameter(program: Any, name: str) -> None:
    specs = program["graph_module"]["signature"]["input_specs"]
    next(s for s in specs if "parameter" in s)["parameter"]["parameter_name"] = name


def attacks(mark: Path) -> dict[str, Change]:
    """Return every known way in which a file could run code when it is loaded or called."""
    run = code(mark)
    pickled = pickle.dumps(Evil(mark))

    def swap(name: str, content: bytes) -> Change:
        return lambda members: members.update({name: content})

    def weights(members: dict[str, bytes]) -> None:
        config = json.loads(members["data/weights/model_weights_config.json"])
        for one in config["config"].values():
            one["use_pickle"] = True
            members[f"data/weights/{one['path_name']}"] = pickled
        members["data/weights/model_weights_config.json"] = json.dumps(config).encode()

    def argument(program: Any) -> None:
        node(program, "linear")["inputs"][0]["name"] = f"x={run}"

    def forward_names(program: Any) -> None:
        signature = program["graph_module"]["module_call_graph"][0]["signature"]
        signature["forward_arg_names"] = [f"z={run}"]

    def operator(program: Any) -> None:
        node(program, "linear")["inputs"][0]["arg"] = {"as_operator": "torch.os.system"}

    return {
        "expression": with_program(lambda p: sizes(p, run)),
        "placeholder": with_program(lambda p: renamed(p, f"z={run}")),
        "keyword": with_program(argument),
        "argument names": with_program(forward_names),
        "import by tree": with_program(lambda p: in_tree(p, "antigravity.Thing")),
        "weight name": with_program(lambda p: first_parameter(p, f"x\r{run}")),
        "target": with_program(lambda p: node(p, "linear").update(target="torch.os.system")),
        "reader of files": with_program(
            lambda p: node(p, "linear").update(target="torch.ops.aten.from_file.default")
        ),
        "operator as value": with_program(operator),
        "pickled weights": weights,
        "compiled library": swap("data/aotinductor/model/x.wrapper.so", b"\x7fELF"),
        "older layout": swap("data/weights/model.pt", pickled),
        "other case": swap("data/Sample_inputs/model.pt", pickled),
        "custom object": swap("data/constants/custom_obj_0", pickled),
        "way out": swap("extra/../../x", b"x"),
        "doubled key": lambda members: members.update({"models/model.json": b'{"a": 1, "a": 2}'}),
        "deep": lambda members: members.update({"models/model.json": b"[" * 200_000}),
        "no numbers": lambda members: members.update({"models/model.json": b'{"a": NaN}'}),
    }


@pytest.mark.parametrize("kind", list(attacks(Path("x"))))
def test_a_hostile_program_is_refused_and_runs_nothing(
    kind: str, program: Path, tmp_path: Path
) -> None:
    mark = tmp_path / MARK
    bad = tampered(program, tmp_path / "bad.pt2", attacks(mark)[kind])
    with pytest.raises(WeightsError) as caught:
        images_of(built(EXPORTED, file=str(bad)), range(2))
    assert "\n" not in str(caught.value)
    assert not mark.exists()


def sample(members: dict[str, bytes], mark: Path) -> None:
    members["data/sample_inputs/model.pt"] = pickle.dumps(Evil(mark))


def guards(program: Any, mark: Path) -> None:
    program["guards_code"] = [code(mark)]


def notes(program: Any, mark: Path) -> None:
    node(program, "linear")["metadata"] = {"stack_trace": code(mark), "custom": code(mark)}


def test_what_only_decorates_is_left_behind(program: Path, tmp_path: Path) -> None:
    mark = tmp_path / MARK
    expected = images_of(built(EXPORTED, file=str(program)), range(3))
    for change in (
        lambda members: sample(members, mark),
        with_program(lambda p: guards(p, mark)),
        with_program(lambda p: notes(p, mark)),
    ):
        changed = tampered(program, tmp_path / "odd.pt2", change)
        assert torch.equal(images_of(built(EXPORTED, file=str(changed)), range(3)), expected)
        assert not mark.exists()


def test_the_attack_on_expressions_works_where_nothing_checks(
    program: Path, tmp_path: Path
) -> None:
    """Without the checks the same file runs code: the tests above are about something."""
    mark = tmp_path / MARK
    bad = tampered(program, tmp_path / "bad.pt2", attacks(mark)["expression"])
    with contextlib.suppress(Exception):
        torch.export.load(bad)
    assert mark.exists()


@pytest.mark.fast
@pytest.mark.parametrize(
    "text",
    [
        "Symbol('s0', integer=True, positive=True)",
        "Mul(Integer(2), Symbol('s12', integer=True))",
        "Add(Integer(-1), Mul(Symbol('s0', positive=True), Integer(3)))",
        "Pow(Symbol('u0', integer=True), Integer(2))",
        "FloorDiv(Symbol('s0', integer=True), Integer(2))",
        "7",
    ],
)
def test_expressions_of_sizes_pass(text: str) -> None:
    check_expression(text)


@pytest.mark.fast
@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "Symbol('x')",
        "Symbol('s0').free_symbols",
        "Pow(Pow(Integer(9), Integer(8)), Integer(8))",
        "Pow(Integer(9), Integer(99))",
        "Integer('1')",
        "Lambda(1)",
        "factorial(Integer(99))",
        "[1]",
        "Add(*x)",
        "1" * 9000,
        "Add(" * 70 + "1" + ")" * 70,
        "\u00e9",
        "",
    ],
)
def test_other_expressions_do_not(text: str) -> None:
    with pytest.raises(RefusedError):
        check_expression(text)


@pytest.mark.fast
def test_operators_of_images_pass_and_others_do_not() -> None:
    for name in ("linear.default", "convolution.default", "scaled_dot_product_attention.default"):
        check_operator(f"torch.ops.aten.{name}")
    check_operator("_operator.add")
    for target in (
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.save.default",
        "torch.ops.aten.set_.source_Storage",
        "torch.ops.mine.thing.default",
        "torch.ops.aten.nosuch.default",
        "_operator.methodcaller",
        "os.system",
        None,
    ):
        with pytest.raises(RefusedError):
            check_operator(target)


@pytest.mark.fast
def test_damaged_files_are_one_line(program: Path, tmp_path: Path) -> None:
    content = program.read_bytes()
    bad = tmp_path / "bad.pt2"
    for text in (b"", b"not a zip", content[:100], content[: len(content) // 2], content[:-10]):
        bad.write_bytes(text)
        with pytest.raises(WeightsError) as caught:
            built(EXPORTED, file=str(bad))
        assert "\n" not in str(caught.value)
    with zipfile.ZipFile(bad, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/archive_format", b"pt2")
    with pytest.raises(WeightsError, match="compressed"):
        built(EXPORTED, file=str(bad))


@pytest.mark.fast
def test_weights_reach_no_further_than_their_bytes(program: Path, tmp_path: Path) -> None:
    def longer(members: dict[str, bytes]) -> None:
        name = "data/weights/model_weights_config.json"
        config = json.loads(members[name])
        for one in config["config"].values():
            one["tensor_meta"]["sizes"][0]["as_int"] += 1
        members[name] = json.dumps(config).encode()

    with pytest.raises(WeightsError, match="reaches beyond its bytes"):
        built(EXPORTED, file=str(tampered(program, tmp_path / "bad.pt2", longer)))


def test_mutations_of_a_program_are_refused_or_harmless(program: Path, tmp_path: Path) -> None:
    import random

    source = random.Random(5)  # noqa: S311  # no secret
    mark = tmp_path / MARK
    run = code(mark)
    with zipfile.ZipFile(program) as archive:
        document = json.loads(archive.read("g/models/model.json"))
    places: list[tuple[Any, Any]] = []

    def visit(value: Any) -> None:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, one in items:
            if isinstance(one, dict | list):
                visit(one)
            elif isinstance(one, str):
                places.append((value, key))

    visit(document)
    for _ in range(60):
        holder, key = source.choice(places)
        was = holder[key]
        holder[key] = source.choice([run, f"x={run}", f"a\r{run}", f'"; {run}; "'])
        bad = tampered(
            program,
            tmp_path / "bad.pt2",
            lambda members: members.update({"models/model.json": json.dumps(document).encode()}),
        )
        holder[key] = was
        with contextlib.suppress(WeightsError, UnsupportedError):
            images_of(built(EXPORTED, file=str(bad)), range(2))
        assert not mark.exists()


@pytest.mark.filterwarnings(
    "ignore:.*torch.jit.*:FutureWarning", "ignore:.*torch.jit.*:DeprecationWarning"
)
def test_a_torchscript_archive_runs_with_the_shape_that_options_give(tmp_path: Path) -> None:
    torch.jit.trace(Tiny(), torch.zeros(2, WIDTH)).save(tmp_path / "g.pt")
    made = built(SCRIPT, file=str(tmp_path / "g.pt"), latent_shape=(WIDTH,))
    latents = made.draw_latents(range(3))
    with torch.inference_mode():
        assert torch.allclose(made.synthesize(latents), Tiny()(latents.z), atol=1e-6)
    (tmp_path / "bad.pt").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="not a TorchScript archive"):
        built(SCRIPT, file=str(tmp_path / "bad.pt"), latent_shape=(WIDTH,))
    buffer = io.BytesIO()
    torch.save({"x": 1}, buffer)
    (tmp_path / "state.pt").write_bytes(buffer.getvalue())
    with pytest.raises(WeightsError, match="not a TorchScript archive"):
        built(SCRIPT, file=str(tmp_path / "state.pt"), latent_shape=(WIDTH,))
