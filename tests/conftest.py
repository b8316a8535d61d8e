"""Shapes are types while the tests run: jaxtyping's import hook checks every annotated function."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sfbench.values.job import Launcher

os.environ["HF_HUB_OFFLINE"] = "1"
CHECKED = ["reference_models", "sfbench.values.pixels", "sfbench.quality"]
ROOT = Path(__file__).parents[1]

Command = Callable[..., subprocess.CompletedProcess[str]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-shapes", action="store_true", help="do not check shapes (torch.compile)")


def pytest_configure(config: pytest.Config) -> None:
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is not None and hasattr(os, "sched_setaffinity"):
        # Processes with a thread for each core would wait for each other most of the time: each
        # worker, and whatever it starts, has one core for itself.
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})
        import torch

        torch.set_num_threads(1)
    if not config.getoption("--no-shapes"):
        from jaxtyping import install_import_hook

        install_import_hook(CHECKED, "beartype.beartype")


@pytest.fixture(scope="session")
def inception_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file in the published format of Inception-v3, with random weights."""
    sys.path.insert(0, str(ROOT / "scripts"))
    from random_inception import random_inception

    path = tmp_path_factory.mktemp("inception") / "w.pth"
    random_inception(path)
    return path


@pytest.fixture
def sfbench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs the command line and its trials in this process, in an empty folder with its own cache.

    Trials that need a process get one: limits of memory, compile modes, other interpreters.
    """
    from sfbench.run.launchers import in_process, local

    return command_line(tmp_path, monkeypatch, in_process.in_process(local.launch))


@pytest.fixture
def sfbench_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs the command line in this process, and each trial in one of its own."""
    return command_line(tmp_path, monkeypatch, None)


def command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launcher: Launcher | None
) -> Command:
    """Return the command line as a function of its arguments and environment variables."""
    from sfbench.cli.main import main
    from sfbench.hardware.policy import kept_settings

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        out, err = io.StringIO(), io.StringIO()
        code: object = 0
        with monkeypatch.context() as patch, warnings.catch_warnings(), kept_settings():
            # Warnings are errors in tests of the library; users see them as lines.
            warnings.simplefilter("default")
            patch.chdir(tmp_path)
            for name, value in ({"XDG_CACHE_HOME": str(tmp_path / "cache")} | environment).items():
                patch.setenv(name, value)
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                try:
                    main([*map(str, arguments)], launcher)
                except SystemExit as stop:
                    code = stop.code
        status = code if isinstance(code, int) else int(code is not None)
        return subprocess.CompletedProcess(list(arguments), status, out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def sfbench_process(tmp_path: Path) -> Command:
    """Runs the installed command in a process of its own, where the process is the point."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "sfbench", *arguments],
            cwd=tmp_path,
            env=os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")} | environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def native_library() -> None:
    """Loads the kernels in C++, or skips where they cannot be compiled."""
    from reference_models.native import NativeKernelsError, library

    try:
        library.load()
    except NativeKernelsError as error:
        pytest.skip(f"no native kernels here: {error}")
