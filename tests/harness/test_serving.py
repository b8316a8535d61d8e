"""The page that follows its store: loopback alone, made anew only when something has changed."""

from __future__ import annotations

import http.client
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from making import a_record

from sfbench.api.errors import UsageError
from sfbench.cli.serving import Page, server_of
from sfbench.store.runs import Store
from sfbench.values.records import Reading

pytestmark = pytest.mark.fast
RATE = Reading(metric="throughput.core", value=1.0)


class Made:
    """Makes a page that says how often it was made."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> str | None:
        self.count += 1
        return f"<p>page {self.count}</p>"


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    server = server_of(Page(tmp_path, Made()), 0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


def asked(port: int, path: str = "/", host: str = "") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path, headers={"Host": host} if host else {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_a_page_is_made_anew_when_the_store_has_changed(tmp_path: Path, port: int) -> None:
    assert asked(port) == (200, "<p>page 1</p>")
    assert asked(port, "/report.html") == (200, "<p>page 1</p>")
    before = asked(port, "/version")
    Store(tmp_path).add(a_record([RATE], identity="a"))
    assert asked(port, "/version") != before
    assert asked(port) == (200, "<p>page 2</p>")


def test_nobody_but_this_machine_is_answered(port: int) -> None:
    assert asked(port, host=f"evil.example:{port}")[0] == 403
    assert asked(port, host=f"localhost:{port}")[0] == 200
    assert asked(port, "/../etc/passwd")[0] == 404
    assert asked(port, "/runs/a.json")[0] == 404


def test_a_port_that_is_taken_is_an_error_of_one_line(tmp_path: Path, port: int) -> None:
    for wrong in (port, 1 << 20):
        with pytest.raises(UsageError, match="cannot be listened on"):
            server_of(Page(tmp_path, Made()), wrong)


def test_the_command_serves_what_is_measured_later_until_it_is_ended(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sfbench", "report", "--serve", "--store", "new"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            line = child.stdout.readline()
            port = int(line.partition("127.0.0.1:")[2].partition("/")[0])
            assert "Nothing measured yet" in asked(port)[1]
            Store(tmp_path / "new").add(a_record([RATE], identity="a"))
            text = asked(port)[1]
            assert "data-live" in text
            assert "How good, how fast" in text
        finally:
            child.terminate()
            assert child.wait(timeout=60) == 0
