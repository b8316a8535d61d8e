from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import typer.main

from sfbench.api.hooks import Hooks
from sfbench.cli.commands import app
from sfbench.report.frame import ABOUT
from sfbench.report.measurements import CASE
from sfbench.run.suites import read_suite
from sfbench.trial import steps_page
from sfbench.values import flags, metrics_page

Command = Callable[..., subprocess.CompletedProcess[str]]
ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def shown_commands() -> list[str]:
    lines = [line for page in PAGES for block in blocks(page, "sh") for line in block.splitlines()]
    return [line.partition("#")[0].strip() for line in lines if line.startswith("sfbench ")]


@pytest.mark.fast
@pytest.mark.parametrize("line", shown_commands())
def test_every_command_in_the_docs_is_one_the_command_line_takes(line: str) -> None:
    group = typer.main.get_command(app)
    _, name, *arguments = shlex.split(line)
    if name == "--install-completion":
        return
    command = group.commands[name]  # type: ignore[attr-defined]
    if hasattr(command, "commands"):
        command, arguments = command.commands[arguments[0]], arguments[1:]
    command.make_context(name, arguments)


@pytest.mark.fast
def test_every_hook_is_documented_and_every_command_listed() -> None:
    text = (ROOT / "docs" / "write-a-plugin.md").read_text()
    hooks = [name for name in vars(Hooks) if name.startswith("sfbench_")]
    assert hooks
    assert all(f"`{name}(" in text for name in hooks)
    cli = (ROOT / "docs" / "cli.md").read_text()
    assert all(f"sfbench {name}" in cli for name in typer.main.get_command(app).commands)  # type: ignore[attr-defined]


@pytest.mark.fast
def test_the_commands_that_print_json_are_named() -> None:
    text = (ROOT / "docs" / "cli.md").read_text()
    named = text[text.index("`--json` prints") : text.index("progress and notes")]
    said = set(
        re.findall(r"[a-z-]+(?: [a-z]+)?", named.partition("flag of")[2].replace(" and ", ", "))
    )
    group = typer.main.get_command(app)
    commands = dict(group.commands)  # type: ignore[attr-defined]
    data = commands.pop("data")
    commands |= {f"data {name}": command for name, command in data.commands.items()}
    takes = {
        name
        for name, command in commands.items()
        if any("--json" in parameter.opts for parameter in command.params)
    }
    assert said == takes


@pytest.mark.fast
def test_the_columns_of_a_report_are_documented_in_their_order() -> None:
    text = (ROOT / "docs" / "cli.md").read_text()
    table = text[text.index("| columns | what |") : text.index("| then by name:")]
    named = [
        name
        for line in table.splitlines()[2:]
        for name in re.findall(r"`(\w+)`", line.split("|")[1])
    ]
    assert named == [*CASE, *ABOUT]


@pytest.mark.fast
@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("metrics.md", metrics_page.markdown()),
        ("steps.md", steps_page.markdown()),
        ("measuring.md", flags.markdown()),
    ],
)
def test_the_tables_of_the_docs_are_those_of_the_code(name: str, table: str) -> None:
    assert f"\n{table}" in (ROOT / "docs" / name).read_text(), "python scripts/write_pages.py"


@pytest.mark.fast
def test_the_generated_pages_are_those_of_the_code() -> None:
    spec = importlib.util.spec_from_file_location("pages", ROOT / "scripts" / "write_pages.py")
    assert spec is not None
    assert spec.loader is not None
    pages = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pages)
    # Other versions of typer describe parameters otherwise; the page is written with the pinned one.
    pins = (ROOT / "constraints.txt").read_text()
    own = f"typer=={importlib.metadata.version('typer')}\n" in pins
    stale = [
        path.name
        for path, text in pages.pages().items()
        if path.read_text() != text and (own or path.name != "commands.md")
    ]
    assert stale == [], "python scripts/write_pages.py"


@pytest.mark.fast
def test_the_schema_of_a_record_holds_for_records() -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema: comes with altair")
    schema = json.loads((ROOT / "docs" / "schemas" / "record-1.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    paths = sorted((ROOT / "results" / "published").glob("*.json"))
    assert paths
    for path in paths:
        record = json.loads(path.read_text())
        assert [error.message for error in validator.iter_errors(record)] == []
        assert list(validator.iter_errors(record | {"status": "fine"})) != []


def test_the_plugin_of_the_docs_has_under_30_lines_and_holds_to_the_contract(
    sfbench: Command, tmp_path: Path
) -> None:
    source, _ = blocks(ROOT / "docs" / "write-a-plugin.md", "python")
    assert len(source.splitlines()) < 30
    (tmp_path / "my_generator.py").write_text(source)
    done = sfbench("check", "my_generator.py", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [result["passed"] for result in json.loads(done.stdout)["mine"]] == [True] * 7


@pytest.mark.fast
def test_the_suite_of_the_docs_can_be_read(tmp_path: Path) -> None:
    (text,) = blocks(ROOT / "docs" / "cli.md", "toml")
    (tmp_path / "suite.toml").write_text(text)
    first, second = (row.request for row in read_suite(str(tmp_path / "suite.toml")).rows)
    assert first.model == "styleformer,styleformer-linformer"
    assert second.option == ("preset=cifar10-large",)


def test_the_extractor_of_the_docs_holds_to_its_contract_and_measures(
    sfbench: Command, tmp_path: Path
) -> None:
    _, source = blocks(ROOT / "docs" / "write-a-plugin.md", "python")
    (tmp_path / "colors.py").write_text(source)
    listed = sfbench("list", "extractors", "--plugin", "colors.py")
    assert "16 mean colors" in listed.stdout
    asked = ("--plugin", "colors.py", "--extractor", "colors", "--samples", "40", "--json")
    done = sfbench("quality", "--images", "shapes", "--reference", "shapes", "--res", "16", *asked)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["metric"] == "fd[colors]"
