"""Behind `sfbench report --serve`: a page on this machine that follows its store."""

from __future__ import annotations

import hashlib
import html
import os
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from sfbench.api.errors import UsageError
from sfbench.cli.exits import Exit

HOST = "127.0.0.1"
NAMES = frozenset({HOST, "localhost"})
"""Names under which this machine speaks to itself; others are pages that try to read this one."""
NICENESS = 10
WATCHED = ("runs", "pictures", "training", "imported", "published")
EMPTY = (
    "<!doctype html><html lang=en data-live><meta charset=utf-8><title>sfbench report</title>"
    "<p>{text}</p><script>setInterval(async () => {{"
    "if (await (await fetch('version')).text() !== '{version}') location.reload()}}, 2000)</script>"
)


class Page:
    """The page of a store, made anew when the store has changed and somebody asks."""

    def __init__(self, store: Path, make: Callable[[], str | None]) -> None:
        self.store = store
        self.make = make
        self.lock = threading.Lock()
        self.made = ""
        self.text = ""

    def version(self) -> str:
        """Return a digest of the names and times of what the page shows."""
        found = hashlib.sha256()
        for folder in WATCHED:
            for path in sorted((self.store / folder).rglob("*.json")):
                found.update(f"{path} {path.stat().st_mtime_ns}\n".encode())
        return found.hexdigest()[:16]

    def current(self) -> str:
        """Return the page as it should be now."""
        with self.lock:
            version = self.version()
            if version != self.made:
                text = self.make()
                nothing = (
                    f"Nothing measured yet in {html.escape(str(self.store))}: this page follows."
                )
                self.text = EMPTY.format(text=nothing, version=version) if text is None else text
                self.made = version
            return self.text


def handler_of(page: Page) -> type[BaseHTTPRequestHandler]:
    """Return what answers requests for this page."""

    class Handler(BaseHTTPRequestHandler):
        """Answers with the page or its version, and to nobody but this machine."""

        def do_GET(self) -> None:  # the name that http.server calls
            """Send the page, its version, or an error."""
            host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
            if host not in NAMES:
                self.send_error(HTTPStatus.FORBIDDEN, "only for this machine")
            elif self.path == "/version":
                self.send("text/plain", page.version())
            elif self.path in {"/", "/report.html"}:
                self.send("text/html", page.current())
            else:
                self.send_error(HTTPStatus.NOT_FOUND)

        def send(self, kind: str, text: str) -> None:
            """Send text that no cache keeps."""
            content = text.encode()
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name there
            """Say nothing: a page asks every two seconds."""

    return Handler


def server_of(page: Page, port: int) -> ThreadingHTTPServer:
    """Return a server on this machine's loopback; `port` 0: any free one."""
    try:
        return ThreadingHTTPServer((HOST, port), handler_of(page))
    except (OSError, OverflowError) as error:
        msg = f"--port {port}: cannot be listened on ({error}); give another, or 0 for any free one"
        raise UsageError(msg) from None


def serve(store: Path, port: int, make: Callable[[], str | None]) -> Exit:
    """Serve the page until Ctrl-C, and print its address.

    A page is made at low priority: a run that goes on is timed meanwhile.
    """
    server = server_of(Page(store, make), port)
    os.nice(NICENESS)
    print(f"http://{HOST}:{server.server_port}/ follows {store}; Ctrl-C ends it", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        return Exit.OK
    finally:
        server.server_close()
    return Exit.OK
