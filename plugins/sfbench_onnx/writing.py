"""A torch generator as an ONNX file with named inputs and any batch size."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path

import torch

from sfbench.api import ModuleGenerator, UnsupportedError
from sfbench.api.errors import first_line
from sfbench.api.graph_export import exported_program, inputs_of

OPSET = 20
"""Of 2024: older runtimes than today's can run it."""
OUTPUT = "images"
LARGEST = 1 << 31
"""Bytes of one protobuf file; larger weights would lie beside it."""


def write(generator: ModuleGenerator, target: Path) -> None:
    """Write the file; raises UnsupportedError for what torch.onnx cannot express."""
    try:
        import onnxscript  # noqa: F401  # torch.onnx needs it, and says so in ten lines
    except ImportError:
        msg = "writing ONNX needs the package onnxscript: pip install 'sfbench[onnx]'"
        raise UnsupportedError(msg) from None
    program = exported_program(generator)
    names = list(inputs_of(generator.draw_latents(range(1))))
    bytes_ = sum(one.numel() * one.element_size() for one in program.state_dict.values())
    chatter = io.StringIO()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(chatter):
        warnings.simplefilter("ignore")  # of tracing: what it cannot do is an error
        try:
            made = torch.onnx.export(
                program,
                input_names=names,
                output_names=[OUTPUT],
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
        except Exception as error:  # noqa: BLE001  # torch's exporter raises anything
            msg = f"torch.onnx cannot write it ({first_line(deepest(error))})"
            raise UnsupportedError(msg) from None
        if made is None:
            msg = "torch.onnx returned nothing to write"
            raise UnsupportedError(msg)
        made.save(target, external_data=bytes_ >= LARGEST)


def deepest(error: BaseException) -> BaseException:
    """Return the error that caused it, whose line says more than those of the steps above it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
