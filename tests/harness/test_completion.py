"""What a shell completes: names there are, the last word of a list, the options of the model."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sfbench.cli.commands import completion
from sfbench.run.suites import shipped_suites

pytestmark = pytest.mark.fast


class Context:
    def __init__(self, **params: str) -> None:
        self.params = params


def test_the_last_word_of_a_list_is_completed_and_no_word_twice() -> None:
    complete = completion.COMPLETERS["mode"]
    assert complete("comp") == ["compile", "compile-reduce-overhead", "compile-max-autotune"]
    assert complete("eager,cu") == ["eager,cuda-graph"]
    assert "eager,eager" not in complete("eager,")
    assert completion.COMPLETERS["dtype"]("bf") == ["bf16"]


def test_names_that_are_installed_are_completed() -> None:
    assert {"styleformer", "stylegan2", "onnx:"} <= set(completion.models(""))
    assert completion.models("stylegan2,sy") == ["stylegan2,synthetic"]
    assert completion.suites("") == shipped_suites()
    assert "clean-fid-0.1" in completion.protocols("clean")
    assert "cifar-cnn7" in completion.extractors("ci")


def test_the_options_of_the_model_on_the_command_line_are_completed() -> None:
    context = Context(model="styleformer")
    assert "preset=nano" in completion.options(context, "preset=")  # type: ignore[arg-type]
    assert completion.options(Context(model=""), "") == []  # type: ignore[arg-type]


def test_a_shell_is_answered() -> None:
    env = {
        "_SFBENCH_COMPLETE": "complete_bash",
        "COMP_WORDS": "sfbench run --mode com",
        "COMP_CWORD": "3",
    }
    done = subprocess.run(
        [sys.executable, "-c", "from sfbench.cli.main import main; main()"],
        env={"PATH": "/usr/bin:/bin", **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "compile-max-autotune" in done.stdout, done.stderr


def test_help_shows_flags_and_commands_under_headings() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sfbench", "run", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    headings = [line for line in done.stdout.splitlines() if line.endswith(":") and line[0] != " "]
    assert headings == [
        "Model:",
        "Case:",
        "Images and quality:",
        "Timing:",
        "Many machines:",
        "Options:",
    ]
    assert "docs/" not in done.stdout
    whole = subprocess.run(
        [sys.executable, "-m", "sfbench", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert "\nOther:" not in whole
    assert whole.index("Measure:") < whole.index("Images:") < whole.index("Share:")
