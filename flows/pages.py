"""The review pages over HTTP, on this machine only."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from neuroloom.flows.environment import LOCALHOST

POLICY = "default-src 'none'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline'"


class _Pages(http.server.SimpleHTTPRequestHandler):
    """Files of one folder, read only; silent, and with headers that keep pages from reaching anything else."""

    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal belongs to the drops."""

    def list_directory(self, path: Any) -> None:
        """Only pages, no listings."""
        self.send_error(404, "no such page")


@contextmanager
def pages_served(folder: Path, port: int, host: str = LOCALHOST) -> Iterator[str]:
    """Serve a folder while in the context; gives its address."""
    handler = functools.partial(_Pages, directory=str(folder))
    with http.server.ThreadingHTTPServer((host, port), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True, name="review pages")
        thread.start()
        try:
            yield f"http://{host}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
