"""Redis and PostgreSQL themselves take what the manifests give them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.ports import free_ports
from tests.contract.postgres_server import programs
from tests.unit.manifests.manifests import of_kind, pod_templates, rendered

_PASSWORD = "of nobody $HOME"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[int]:
    """A Redis that was started by the pod's own command, on another port and another folder."""
    (port,) = free_ports(1)
    config = of_kind(rendered("base"), "ConfigMap")["hecaton-redis"]["data"]["redis.conf"]
    config = config.replace("port 6379", f"port {port}").replace("bind 0.0.0.0", "bind 127.0.0.1")
    (tmp_path / "redis.conf").write_text(config.replace("dir /data", f"dir {tmp_path}"))
    (container,) = pod_templates(rendered("base"))["redis"]["spec"]["containers"]
    command = [*container["command"], *(each.replace("/etc/redis", str(tmp_path)) for each in container["args"])]
    environment = {"PATH": os.environ["PATH"], "REDISCLI_AUTH": _PASSWORD}
    server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert server.stdout is not None
        said = ""
        for line in server.stdout:
            said += line
            if "Ready to accept connections" in line:
                break
        assert server.poll() is None, said
        arguments = Path(f"/proc/{server.pid}/cmdline").read_bytes()
        assert b"nobody" not in arguments, "the password can be read in the list of processes"
        yield port
    finally:
        server.terminate()
        server.wait(timeout=10)


def _ask(port: int, *words: str, password: str | None = _PASSWORD) -> str:
    environment = {"PATH": os.environ["PATH"], **({"REDISCLI_AUTH": password} if password else {})}
    command = ["redis-cli", "-p", str(port), *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=10).stdout.strip()


def test_redis_starts_with_the_password_of_the_secret_and_forgets_nothing(redis: int) -> None:
    assert _ask(redis, "ping") == "PONG"
    assert "NOAUTH" in _ask(redis, "ping", password=None)
    assert _ask(redis, "config", "get", "appendfsync").split() == ["appendfsync", "always"]
    assert _ask(redis, "config", "get", "maxmemory-policy").split() == ["maxmemory-policy", "noeviction"]


def test_the_probe_of_redis_fails_when_it_does_not_answer(redis: int) -> None:
    (container,) = pod_templates(rendered("base"))["redis"]["spec"]["containers"]
    command = [
        each.replace("redis-cli", f"redis-cli -p {redis}") for each in container["readinessProbe"]["exec"]["command"]
    ]
    for password, status in ((_PASSWORD, 0), ("another", 1)):
        environment = {"PATH": os.environ["PATH"], "REDISCLI_AUTH": password}
        assert subprocess.run(command, env=environment, capture_output=True, timeout=10).returncode == status


def test_postgresql_knows_the_settings_that_it_is_started_with() -> None:
    (container,) = pod_templates(rendered("base"))["postgres"]["spec"]["containers"]
    settings = [each for each in container["args"] if each != "-c"]
    assert len(settings) * 2 == len(container["args"])
    program = str(programs() / "postgres")
    shown = subprocess.run([program, "--describe-config"], capture_output=True, text=True, timeout=30, check=True)
    known = {line.split("\t")[0] for line in shown.stdout.splitlines()}
    assert {setting.partition("=")[0] for setting in settings} <= known
