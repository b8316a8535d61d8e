"""ONNX files: what is found out about them, what comes out of them, and what is refused."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from graph_making import SHORT, SIDE, WIDTH, built, images_of, onnx_file
from onnx import TensorProto, helper

from sfbench.api.errors import ContractError, UnsupportedError, UsageError, WeightsError
from sfbench_onnx import sfbench_generators

Command = Callable[..., subprocess.CompletedProcess[str]]
(SPEC,) = sfbench_generators()
pytestmark = pytest.mark.fast


def test_images_are_those_of_the_session_by_hand(tmp_path: Path) -> None:
    path = onnx_file(tmp_path / "g.onnx")
    made = built(SPEC, file=str(path))
    session = onnxruntime.InferenceSession(path)
    for count in (5, 5, 1, 3):
        z = np.stack(
            [
                torch.randn(WIDTH, generator=torch.Generator().manual_seed(s)).numpy()
                for s in range(count)
            ]
        )
        (expected,) = session.run(None, {"z": z})
        assert np.allclose(images_of(made, range(count)).numpy(), expected, atol=1e-6)
    assert made.model_size.parameters == WIDTH * 3 * SIDE * SIDE + 4
    assert "onnxruntime" in made.runtime
    assert made.architecture["provider"] == "CPUExecutionProvider"


@pytest.mark.parametrize(
    ("parts", "form"),
    [
        ({}, ("[-1, 1]", "NCHW")),
        ({"scale": 0.5, "offset": 0.5}, ("[0, 1]", "NCHW")),
        ({"scale": 127.5, "offset": 127.5, "channels_last": True}, ("0..255", "NHWC")),
        ({"channels_last": True}, ("[-1, 1]", "NHWC")),
        # A decoder without a final clamp, and dark bytes as floating point.
        ({"scale": 0.52, "offset": 0.5}, ("[0, 1]", "NCHW")),
        ({"scale": 6.0, "offset": 6.0}, ("0..255", "NCHW")),
        ({"scale": 0.01}, ("[-1, 1]", "NCHW")),
    ],
)
def test_range_and_layout_are_found_and_undone(
    parts: dict[str, Any], form: tuple[str, str], tmp_path: Path
) -> None:
    made = built(SPEC, file=str(onnx_file(tmp_path / "g.onnx", **parts)))
    output = made.architecture["output"]
    assert (output["range"], output["layout"]) == form
    images = images_of(made, range(4))
    assert images.shape == (4, 3, SIDE, SIDE)
    if parts.get("scale") in {6.0, 0.01}:
        return
    assert images.min() < -0.8
    assert images.max() <= 1.05
    if not parts.get("channels_last") and parts.get("scale") != 0.52:
        plain = images_of(built(SPEC, file=str(onnx_file(tmp_path / "p.onnx"))), range(4))
        assert torch.allclose(images, plain, atol=1e-5)


def test_what_the_user_says_of_the_output_counts(tmp_path: Path) -> None:
    path = str(onnx_file(tmp_path / "g.onnx", scale=0.5, offset=0.5))
    made = built(SPEC, file=path, range="signed")
    assert images_of(made, range(4)).min() >= 0
    with pytest.raises(ContractError, match="second or last"):
        built(SPEC, file=path, layout="NHWC")


def test_a_fixed_batch_is_called_in_pieces(tmp_path: Path) -> None:
    free = built(SPEC, file=str(onnx_file(tmp_path / "a.onnx")))
    fixed = built(SPEC, file=str(onnx_file(tmp_path / "b.onnx", batch=4)))
    assert fixed.architecture["inputs"]["batch"] == 4
    for count in (1, 4, 6):
        assert torch.allclose(
            images_of(fixed, range(count)), images_of(free, range(count)), atol=1e-6
        )


def test_labels_are_found_drawn_and_follow_a_rule(tmp_path: Path) -> None:
    from sfbench.api import Conditional, Labels

    made = built(SPEC, file=str(onnx_file(tmp_path / "g.onnx", classes=5)))
    assert made.architecture["inputs"]["labels"] == "c float32[?, 5]"
    assert isinstance(made, Conditional)
    assert made.classes == 5
    z = made.draw_latents(range(10)).z
    made.use_labels(Labels(rule="balanced"))
    drawn = made.draw_latents(range(10))
    assert torch.equal(drawn.z, z)
    assert drawn.c.argmax(dim=1).tolist() == [0, 1, 2, 3, 4] * 2
    with pytest.raises(UnsupportedError, match="class 7, but the model has 5 classes"):
        made.use_labels(Labels(rule="class", number=7))


def second_latent(model: Any) -> None:
    extra = helper.make_tensor_value_info("w", TensorProto.FLOAT, ["batch", WIDTH])
    model.graph.input.append(extra)


def test_an_ambiguous_graph_names_its_inputs_and_what_to_say(tmp_path: Path) -> None:
    path = str(onnx_file(tmp_path / "g.onnx", second_latent))
    with pytest.raises(UsageError, match=r"z float32\[\?, 12\], w float32\[\?, 12\].*latent=NAME"):
        built(SPEC, file=path)
    with pytest.raises(UsageError, match=r"--option latent=v: g.onnx has the inputs z float32"):
        built(SPEC, file=path, latent="v")
    with pytest.raises(UsageError, match=r"which takes what is open"):
        built(SPEC, file=path, latent="z")


def psi(model: Any) -> None:
    model.graph.input.append(helper.make_tensor_value_info("psi", TensorProto.FLOAT, []))
    model.graph.node[2].input[1] = "psi"


def steps(model: Any) -> None:
    model.graph.input.append(helper.make_tensor_value_info("steps", TensorProto.INT64, []))


def two_outputs(model: Any) -> None:
    flat = helper.make_tensor_value_info("flat", TensorProto.FLOAT, ["batch", 768])
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 16, 16])
    del model.graph.output[:]
    model.graph.output.extend([flat, images])


def test_of_several_outputs_the_images_are_taken_or_the_one_that_is_named(tmp_path: Path) -> None:
    path = str(onnx_file(tmp_path / "g.onnx", two_outputs))
    assert images_of(built(SPEC, file=path), range(2)).shape == (2, 3, SIDE, SIDE)
    with pytest.raises(WeightsError, match=r"has the outputs flat, images, not --option output=x"):
        built(SPEC, file=path, output="x")
    with pytest.raises(ContractError, match="its output has shape"):
        built(SPEC, file=path, output="flat")


def test_only_files_whose_parts_all_count_are_read(tmp_path: Path) -> None:
    (tmp_path / "g.pb").write_bytes(onnx_file(tmp_path / "g.onnx").read_bytes())
    with pytest.raises(WeightsError, match=r"ends in .onnx"):
        built(SPEC, file=str(tmp_path / "g.pb"))


def test_other_inputs_take_constants(tmp_path: Path) -> None:
    path = str(onnx_file(tmp_path / "g.onnx", psi))
    half = images_of(built(SPEC, file=path, constants="psi:0.5"), range(3))
    whole = images_of(built(SPEC, file=path, constants="psi:1"), range(3))
    assert torch.allclose(half * 2, whole, atol=1e-6)
    for text in ("psi:much", "psi:nan", "psi:0.5+psi:0.9", "no:1", "psi"):
        with pytest.raises(UsageError, match="expected NAME:NUMBER"):
            built(SPEC, file=path, constants=text)
    whole = str(onnx_file(tmp_path / "w.onnx", steps))
    with pytest.raises(UsageError, match="a whole number for an input of such"):
        built(SPEC, file=whole, constants="steps:0.5")
    with pytest.raises(UsageError, match="z is given two roles"):
        built(SPEC, file=path, latent="z", labels="z", constants="psi:1")


def test_another_size_is_refused_with_the_right_one(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"g.onnx makes images of 16x16 px: use --res 16"):
        built(SPEC, 32, file=str(onnx_file(tmp_path / "g.onnx")))


def test_the_precision_is_that_of_the_file(tmp_path: Path) -> None:
    path = str(onnx_file(tmp_path / "g.onnx"))
    with pytest.raises(UnsupportedError, match="holds fp32 weights: use --dtype fp32, not bf16"):
        built(SPEC, file=path, dtype="bfloat16")


def custom(model: Any) -> None:
    model.graph.node[1].domain = "evil"
    model.opset_import.append(helper.make_opsetid("evil", 1))


def external(location: str, length: int = 9216 * 4) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, "length": str(length)}.items():
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value

    return change


def future(model: Any) -> None:
    model.opset_import[0].version = 999


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (custom, "operator evil::Tanh is a custom one"),
        (external("../secret"), "outside the model's folder"),
        (external("/etc/passwd"), "outside the model's folder"),
        (external(""), "outside the model's folder"),
        (external("none.bin"), "which is not there"),
        (external(".hidden.bin"), "in the hidden file"),
        (external("short.bin"), "reach beyond the end of short.bin"),
        (external("short.bin", -5), "reach beyond the end"),
        (future, "onnxruntime does not load it"),
        (lambda model: model.graph.ClearField("node"), "no operators or no output"),
    ],
)
def test_doubtful_graphs_are_refused_in_one_line(
    change: Callable[[Any], None], words: str, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_bytes(b"x" * 100_000)
    (tmp_path / "in" / "short.bin").write_bytes(b"x" * 10)
    path = onnx_file(tmp_path / "in" / "g.onnx", change)
    with pytest.raises(WeightsError, match=words) as caught:
        built(SPEC, file=str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no model", b"\x00" * 100])
def test_what_is_no_graph_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "g.onnx").write_bytes(content)
    with pytest.raises(WeightsError, match="not an ONNX"):
        built(SPEC, file=str(tmp_path / "g.onnx"))


def test_a_cut_graph_is_refused(tmp_path: Path) -> None:
    content = onnx_file(tmp_path / "whole.onnx").read_bytes()
    for share in (0.1, 0.5, 0.9):
        (tmp_path / "g.onnx").write_bytes(content[: int(share * len(content))])
        with pytest.raises(WeightsError):
            built(SPEC, file=str(tmp_path / "g.onnx"))


def test_a_run_measures_it_and_says_what_it_cannot(sfbench: Command, tmp_path: Path) -> None:
    onnx_file(tmp_path / "g.onnx")
    done = sfbench(
        "run", "--model", "onnx:g.onnx", "--res", "16", "--mode", "eager,cuda-graph",
        "--measure", "speed,memory", "--json", *SHORT,
    )  # fmt: skip
    records = {record["case"]["mode"]: record for record in json.loads(done.stdout)}
    assert records["cuda-graph"]["status"] == "unsupported"
    assert "runs in onnxruntime" in records["cuda-graph"]["reason"]
    found = {one["metric"]: one for one in records["eager"]["readings"]}
    assert found["parameters"]["value"] == WIDTH * 3 * SIDE * SIDE + 4
    assert found["memory.weights"]["value"] > 4 * WIDTH * 3 * SIDE * SIDE
    assert found["flops"]["value"] is None
    assert "torch counts no operations" in found["flops"]["reason"]
    assert records["eager"]["provenance"]["architecture"]["inputs"]["latent"] == "z float32[?, 12]"
