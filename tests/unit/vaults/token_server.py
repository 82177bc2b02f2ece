"""A real OAuth token endpoint: refresh tokens are good once, and what it was asked is kept."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

Json = dict[str, Any]


@dataclass
class TokenServer:
    """Answers refresh requests: first what is queued in ``answers``, then by its own rules."""

    url: str = ""
    refresh_token: str = "refresh-0"
    rotates: bool = True
    expires_in: Any = 3600
    answers: list[tuple[int, bytes, str]] = field(default_factory=lambda: [])
    asked: list[Json] = field(default_factory=lambda: [])
    headers: list[dict[str, str]] = field(default_factory=lambda: [])
    gate: threading.Event = field(default_factory=threading.Event)
    entered: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, form: Json) -> tuple[int, bytes, str]:
        """Spend the refresh token of *form*; one that was spent is an invalid_grant, as RFC 6749 wants."""
        with self._lock:
            self.asked.append(form)
            if self.answers:
                return self.answers.pop(0)
            if form.get("refresh_token") != self.refresh_token:
                return as_json(400, {"error": "invalid_grant"})
            number = len(self.asked)
            told: Json = {"access_token": f"access-{number}", "token_type": "Bearer", "expires_in": self.expires_in}
            if self.rotates:
                self.refresh_token = told["refresh_token"] = f"refresh-{number}"
            return as_json(200, told)


def as_json(status: int, body: Json) -> tuple[int, bytes, str]:
    return status, json.dumps(body).encode(), "application/json"


@contextmanager
def token_server() -> Iterator[TokenServer]:
    """Serve on a free port of the loopback; the gate is open until a test closes it."""
    state = TokenServer()
    state.gate.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers.get("content-length", 0))
            form = {name: values[0] for name, values in parse_qs(self.rfile.read(size).decode()).items()}
            state.headers.append({name.lower(): value for name, value in self.headers.items()})
            state.entered.set()
            assert state.gate.wait(20)
            status, body, kind = state.answer(form)
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            del format, args

        def handle(self) -> None:
            try:
                super().handle()
            except (BrokenPipeError, ConnectionResetError):
                return  # who asked has lost patience

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/token"
    try:
        yield state
    finally:
        state.gate.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
