"""Sessions that CI and contributors run: `nox -l` lists them, `nox -s NAME` runs one."""

from __future__ import annotations

import pathlib

import nox

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "uv"
nox.options.sessions = ["lint", "types", "imports", "wheel", "plugin", "compiled", "tests"]

PYTHONS = ["3.11", "3.12", "3.13"]
PINNED = ["-c", "constraints.txt"]
# Importing torch takes twice as long where compiled files may not be kept.
ENVIRONMENT = {"PYTHONDONTWRITEBYTECODE": None, "HF_HUB_OFFLINE": "1"}


def installed(session: nox.Session, *arguments: str) -> None:
    """Install with uv, and keep compiled files."""
    session.env.update(ENVIRONMENT)
    session.install(*arguments)


@nox.session(python="3.11")
def lint(session: nox.Session) -> None:
    """Ruff: every rule but those excused in pyproject.toml, and the formatter."""
    installed(session, *PINNED, "--group", "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(python="3.11")
def types(session: nox.Session) -> None:
    """Mypy, strict."""
    installed(session, *PINNED, "-e", ".", "--group", "types")
    session.run("mypy")


@nox.session(python="3.11")
def imports(session: nox.Session) -> None:
    """Who may import whom; torch is not installed here."""
    installed(session, *PINNED, "--group", "imports")
    installed(session, "--no-deps", "-e", ".")
    session.run("lint-imports")


@nox.session(python="3.11")
def browser(session: nox.Session) -> None:
    """The HTML report in Chromium; needs chromium and chromedriver on the path."""
    installed(session, *PINNED, "-e", ".", "--group", "test", "--group", "browser")
    session.run("pytest", "-q", "tests/browser", *session.posargs)


@nox.session(python="3.11")
def docs(session: nox.Session) -> None:
    """The documentation site, in build/site; a broken link or reference is an error."""
    installed(session, *PINNED, "-e", ".", "--group", "docs")
    session.run("sphinx-build", "-W", "--keep-going", "-q", "-b", "html", "docs", "build/site")


@nox.session(python="3.11")
def mlflow(session: nox.Session) -> None:
    """Records sent to MLflow; the package is no dependency."""
    installed(session, *PINNED, "-e", ".", "--group", "test", "mlflow-skinny>=3")
    session.run("pytest", "-q", "tests/mlflow", *session.posargs)


@nox.session(python="3.11")
def extras(session: nox.Session) -> None:
    """Quantized layers, and text pipelines: their packages change how others behave."""
    more = ("torchao>=0.18", "transformers>=5")
    installed(session, *PINNED, "-e", ".", "--group", "test", *more)
    session.run("pytest", "-q", "tests/extras", *session.posargs)


@nox.session(python="3.11")
def fuzz(session: nox.Session) -> None:
    """Hand 100,000 damaged files, and 2,000 damaged documents of each kind, to every reader: 10 min."""
    installed(session, *PINNED, "-e", ".", "--group", "test")
    count = session.posargs or ("100000",)
    session.run("python", "-W", "ignore", "scripts/fuzz_readers.py", *count)
    session.env["SFBENCH_MUTATIONS"] = "2000"
    session.run("pytest", "-q", "tests/harness/test_documents.py")


@nox.session(python="3.11")
def mutants(session: nox.Session) -> None:
    """Change the modules that decide numbers in small ways: 85 % must fail a test. Half an hour."""
    installed(session, *PINNED, "-e", ".", "--group", "test", "mutmut>=3.8,<4")
    session.run("mutmut", "run", *session.posargs)
    session.run("python", "scripts/mutants.py")


@nox.session(python="3.11")
def bench(session: nox.Session) -> None:
    """Time the models against a checkout of the official code: `-- PATH [--only s,m]`; minutes."""
    installed(session, *PINNED, "-e", ".", "--group", "test")
    if not session.posargs:
        session.error("give the folder of an official Styleformer checkout: nox -s bench -- PATH")
    session.run("python", "scripts/bench_models.py", *session.posargs)


@nox.session(python="3.11")
def bench_baselines(session: nox.Session) -> None:
    """Time BigGAN and the GANsformer against their authors' code: `-- --biggan PATH`; ten minutes."""
    installed(session, *PINNED, "-e", ".", "--group", "test")
    if not session.posargs:
        session.error("give a checkout: nox -s bench_baselines -- --biggan PATH --gansformer PATH")
    session.run("python", "scripts/bench_baselines.py", *session.posargs)


@nox.session(python="3.11")
def bench_training(session: nox.Session) -> None:
    """Time training against a checkout of the official code: `-- PATH [--batch 8]`; half an hour."""
    installed(session, *PINNED, "-e", ".", "--group", "test")
    if not session.posargs:
        session.error("give the folder of a checkout: nox -s bench_training -- PATH")
    session.run("python", "scripts/bench_training.py", *session.posargs)
    session.run("python", "scripts/training_overhead.py")


@nox.session(python="3.11")
def kills(session: nox.Session) -> None:
    """Kill a training run on two processes twenty times: a quarter of an hour."""
    installed(session, *PINNED, "-e", ".", "--group", "test")
    session.run("python", "scripts/kill_training.py", session.create_tmp(), *session.posargs)


@nox.session(python="3.11")
def faults(session: nox.Session) -> None:
    """Run sixty faulty plugins beside three good models, and kill a run a hundred times: 20 minutes."""
    installed(session, *PINNED, "-e", ".", "--group", "test")
    session.run(
        "python", "scripts/faulty_plugins.py", str(pathlib.Path(session.create_tmp()) / "plugins")
    )
    session.run("python", "scripts/kill_runs.py", str(pathlib.Path(session.create_tmp()) / "kills"))


@nox.session(python="3.11")
def cluster(session: nox.Session) -> None:
    """Workers on a real Slurm of two nodes, which this session starts and ends: three minutes.

    Needs slurmctld, slurmd, Slurm's client commands and munge. SFBENCH_CLUSTER_TRIALS: how many
    trials the killed nodes share, 40 if not set.
    """
    installed(session, *PINNED, "-e", ".", "--group", "test")
    session.env["SFBENCH_CLUSTER"] = "1"
    session.run("pytest", "-q", "tests/cluster", *session.posargs)


@nox.session(python="3.11")
def gpu(session: nox.Session) -> None:
    """GPU tests, the suite `gpu`, and the official code beside ours: `-- [CHECKOUT]`; eight minutes.

    Run it again until it says that everything is done; it goes on where it ended.
    """
    installed(session, *PINNED, "-e", ".", "--group", "test")
    present = "import sys; from sfbench.hardware.devices import find_backend as find; "
    present += "sys.exit(not find('cuda').present())"
    try:
        session.run("python", "-c", present, silent=True)
    except nox.command.CommandFailed:
        session.skip("no NVIDIA GPU here")
    session.run("python", "scripts/gpu_session.py", *session.posargs, success_codes=[0, 2])


@nox.session(python="3.11")
def workers(session: nox.Session) -> None:
    """Sixty-four workers on one store, and workers that are killed or paused: two minutes."""
    installed(session, *PINNED, "-e", ".", "--group", "test")
    folder = pathlib.Path(session.create_tmp()) / "stores"
    session.run("python", "scripts/stress_workers.py", str(folder), *session.posargs)


@nox.session(python="3.11")
def bench_quality(session: nox.Session) -> None:
    """Time the quality path against its peers, interleaved: minutes. `-- resize` for a part."""
    installed(session, *PINNED, "-e", ".", "--group", "test")
    session.run("python", "scripts/bench_quality.py", *session.posargs)


@nox.session(python="3.11")
def bench_report(session: nox.Session) -> None:
    """Time reports over 100,000 records: five minutes, a gigabyte of disk."""
    installed(session, *PINNED, "-e", ".", "--group", "test")
    session.run("python", "scripts/bench_report.py", *session.posargs)


@nox.session(python="3.11")
def power(session: nox.Session) -> None:
    """How often `compare --live` errs, on synthetic generators: twenty minutes."""
    installed(session, *PINNED, "-e", ".", "--group", "test")
    session.run("python", "scripts/power.py", *session.posargs)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Pytest with the pinned versions; `-- -m fast` for the quick part."""
    installed(session, *PINNED, "-e", ".", "--group", "test")
    session.run("pytest", "-q", *session.posargs)


@nox.session(python="3.11")
def lowest(session: nox.Session) -> None:
    """Pytest with the lowest versions that pyproject.toml allows."""
    installed(session, "--resolution", "lowest-direct", "-e", ".", "--group", "test")
    # Old packages warn of their own dependencies when imported: no fault of ours.
    session.run("pytest", "-q", "-W", "default", *session.posargs)


@nox.session(python="3.13")
def highest(session: nox.Session) -> None:
    """Pytest with the newest versions there are."""
    installed(session, "--upgrade", "-e", ".", "--group", "test")
    session.run("pytest", "-q", *session.posargs)


def built_wheel(session: nox.Session) -> str:
    """Build the wheel and return its path."""
    folder = pathlib.Path(session.create_tmp())
    session.run("uv", "build", "-q", "--wheel", "--out-dir", str(folder), external=True)
    return str(max(folder.glob("*.whl"), key=lambda path: path.stat().st_mtime))


@nox.session(python="3.12")
def wheel(session: nox.Session) -> None:
    """Build the wheel, install it alone, and use it away from the source."""
    path = built_wheel(session)
    installed(session, *PINNED, path)
    away = session.create_tmp()
    command = ["--model", "styleformer", "--res", "32", "--measure", "quality", "--samples", "16"]
    with session.chdir(away):
        session.run("sfbench", "list")
        session.run("sfbench", "run", *command, "--store", "records")
        session.run("sfbench", "report", "--store", "records")


@nox.session(python="3.12")
def plugin(session: nox.Session) -> None:
    """The stranger's path: a distribution of its own beside the installed wheel."""
    installed(session, *PINNED, built_wheel(session), "./tests/third_party_plugin", "pytest")
    session.run("pytest", "-q", "-c", "/dev/null", "tests/third_party_plugin")


@nox.session(python="3.11")
def compiled(session: nox.Session) -> None:
    """The torch.compile tests, without the hook that checks shapes."""
    installed(session, *PINNED, "-e", ".", "--group", "test")
    session.run("pytest", "-q", "--no-shapes", "-m", "compiled", *session.posargs)
