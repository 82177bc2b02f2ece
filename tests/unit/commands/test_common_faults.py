"""The faults that docs/troubleshooting.md lists are provoked one by one: the doctor names each, and says what to do."""

from __future__ import annotations

import json
import os
import re
import resource
import socket
import sqlite3
import sys
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from agents.commands import brain_checks, checks, database_check, machine_checks, platform_checks
from agents.commands.findings import Check
from agents.commands.hand_checks import hand_checks
from agents.commands.platform import PlatformRecord
from agents.commands.vault_check import check_master_key
from agents.config import Settings
from agents.settings_loading import load_settings
from agents.vaults.settings import key_id
from tests.unit.backup.site import add_api_key, add_credential, made_site

GUIDE = Path(__file__).parents[3] / "docs" / "troubleshooting.md"
VARIABLES = ("ANTHROPIC_", "HECATON_", "RAY_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@dataclass(slots=True)
class Stage:
    """A machine with a fault."""

    folder: Path
    patch: pytest.MonkeyPatch
    until_end: ExitStack

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def settings(self, **given: Any) -> Settings:
        return load_settings(overrides={"data_dir": self.data, **given})

    def proc(self, **files: str) -> None:
        """A /proc with these files (``sys__kernel__x``)."""
        for name, content in files.items():
            file = self.folder / "proc" / name.replace("__", "/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        self.patch.setattr(machine_checks, "_PROC", self.folder / "proc")

    def mounted(self, kind: str) -> None:
        self.proc(self__mountinfo=f"1 0 0:1 / / rw - ext4 /dev/x rw\n2 1 0:2 / {self.folder} rw - {kind} x rw\n")


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    for name in list(os.environ):
        if name.upper().startswith(VARIABLES):
            monkeypatch.delenv(name)
    with ExitStack() as until_end:
        yield Stage(tmp_path, monkeypatch, until_end)


@contextmanager
def answering(status: int, body: object) -> Iterator[str]:
    """A server on this machine; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as up:
        thread = threading.Thread(target=up.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{up.server_port}"
        up.shutdown()
        thread.join(5)


@contextmanager
def saying(answer: bytes) -> Iterator[str]:
    """A server that says *answer* to whoever asks anything, as a Redis might; yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as connection:
                connection.recv(1000)
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        thread.join(5)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def changed(data: Path, statement: str) -> None:
    with closing(sqlite3.connect(data / "hecaton.db")) as connection, connection:
        connection.execute(statement)


# -- the faults, by the names that docs/troubleshooting.md has for them -----------------------------


def data_directory_not_writable(stage: Stage) -> Check:
    (stage.folder / "file").touch()
    return machine_checks.check_data_dir(stage.folder / "file" / "data")


def data_in_memory(stage: Stage) -> Check:
    stage.mounted("tmpfs")
    return machine_checks.check_file_system(stage.settings())


def data_in_container(stage: Stage) -> Check:
    stage.mounted("overlay")
    return machine_checks.check_file_system(stage.settings())


def data_on_network(stage: Stage) -> Check:
    stage.mounted("nfs4")
    return machine_checks.check_file_system(stage.settings())


def disk_full(stage: Stage) -> Check:
    stage.patch.setattr(machine_checks, "_DISK_BYTES", 1 << 62)
    return machine_checks.check_disk(stage.data)


def checkpoints_unusable(stage: Stage) -> Check:
    return checks.check_checkpoints(stage.settings(**{"checkpoints.url": "nosuch://bucket"}))


def vault_key_unreadable(stage: Stage) -> Check:
    stage.data.mkdir()
    (stage.data / "master.key").write_text(b64encode(os.urandom(32)).decode())
    (stage.data / "master.key").chmod(0o644)
    return check_master_key(stage.settings())


def vault_key_lost(stage: Stage) -> Check:
    made_site(stage.data)
    add_credential(stage.data, key_id(b"lost" * 8))
    return database_check.check_database(stage.settings())[-1]


def credential_expired(stage: Stage) -> Check:
    made_site(stage.data)
    key = os.urandom(32)
    add_credential(stage.data, key_id(key))
    (stage.data / "master.key").write_text(b64encode(key).decode())
    changed(stage.data, "UPDATE vault_credentials SET failure = 'invalid_grant'")
    return database_check.check_database(stage.settings())[-1]


def database_away(stage: Stage) -> Check:
    url = f"postgresql+asyncpg://u:s3cret@127.0.0.1:{closed_port()}/hecaton"
    [found] = database_check.check_database(stage.settings(database_url=url))
    assert "s3cret" not in found.found
    return found


def database_damaged(stage: Stage) -> Check:
    stage.data.mkdir()
    (stage.data / "hecaton.db").write_bytes(b"not a database" * 100)
    return database_check.check_database(stage.settings())[0]


def database_locked(stage: Stage) -> Check:
    made_site(stage.data)
    stage.patch.setattr(database_check, "_LOCK_SECONDS", 0.05)
    holder = stage.until_end.enter_context(closing(sqlite3.connect(stage.data / "hecaton.db")))
    holder.execute("BEGIN IMMEDIATE")
    return database_check.check_database(stage.settings())[0]


def database_newer(stage: Stage) -> Check:
    made_site(stage.data)
    changed(stage.data, "UPDATE alembic_version SET version_num = '9999'")
    changed(stage.data, "UPDATE schema_info SET compatible_since = '9998'")
    return database_check.check_database(stage.settings())[0]


def database_older(stage: Stage) -> Check:
    made_site(stage.data)
    changed(stage.data, "UPDATE alembic_version SET version_num = '0003'")
    return database_check.check_database(stage.settings())[0]


def data_of_another_machine(stage: Stage) -> Check:
    made_site(stage.data)
    (stage.data / "run").mkdir()
    (stage.data / "run" / "machine").write_text("another-machine")
    return database_check.check_database(stage.settings())[0]


def clocks_differ(stage: Stage) -> Check:
    facts = database_check._Facts("PostgreSQL", database_check.HEAD, "", frozenset(), 0, 0, skew=-2.5)
    [found] = database_check._clock(facts, stage.settings())
    return found


def shared_memory_small(stage: Stage) -> Check:
    stage.patch.setattr(machine_checks, "_SHM_BYTES", 1 << 62)
    return machine_checks.check_shared_memory()


def memory_limited(stage: Stage) -> Check:
    group = stage.folder / "cgroups" / "memory" / "box"
    group.mkdir(parents=True)
    for name, value in (("limit_in_bytes", 1 << 30), ("usage_in_bytes", 1 << 29)):
        (group / f"memory.{name}").write_text(str(value))
    (group / "memory.stat").write_text("total_inactive_file 0\n")
    stage.patch.setattr(machine_checks, "_CGROUPS", stage.folder / "cgroups")
    stage.proc(meminfo="MemAvailable: 99999999 kB\n", self__cgroup="4:memory:/box\n0::/\n")
    return machine_checks.check_memory()


def few_open_files(stage: Stage) -> Check:
    stage.patch.setattr(resource, "getrlimit", lambda kind: (256, 1024))
    return machine_checks.check_open_files()


def platform_was_killed(stage: Stage) -> Check:
    (stage.data / "run").mkdir(parents=True)
    record = {"pid": os.getpid(), "url": "http://127.0.0.1:1"}
    (stage.data / "run" / "platform.json").write_text(json.dumps(record))
    return platform_checks.check_record(stage.settings())


def port_taken(stage: Stage) -> Check:
    taken = stage.until_end.enter_context(socket.create_server(("127.0.0.1", 0)))
    found = platform_checks.check_port(stage.settings(port=taken.getsockname()[1]))
    assert f"process {os.getpid()}" in found.found
    return found


def exposed_without_key(stage: Stage) -> Check:
    open_to_all = stage.settings(host="0.0.0.0", proxy="direct")
    found = checks.check_exposure(open_to_all)
    made_site(stage.data)
    add_api_key(stage.data)
    assert checks.check_exposure(open_to_all).state == "ok"
    # A server that had a key asks for one for ever; and so does one that is upgraded just now.
    changed(stage.data, "UPDATE api_keys SET revoked_at = 1")
    changed(stage.data, "UPDATE alembic_version SET version_num = '0013'")
    assert checks.check_exposure(open_to_all).state == "ok"
    return found


def exposure_is_not_told(stage: Stage) -> Check:
    stage.data.mkdir()
    (stage.data / "hecaton.db").write_bytes(b"no database" * 100)
    return checks.check_exposure(stage.settings(host="0.0.0.0", proxy="direct"))


def haproxy_listens_everywhere(stage: Stage) -> Check:
    return checks.check_exposure(stage.settings(proxy="haproxy"))


def proxy_before_this_machine(stage: Stage) -> Check:
    stage.patch.setenv("http_proxy", "http://proxy.example:3128")
    local = {"brain.base_url": "http://127.0.0.1:8000", "anthropic_api_key": "k"}
    found = machine_checks.check_proxies(stage.settings(**local))
    stage.patch.setenv("no_proxy", "localhost,127.0.0.1")
    assert machine_checks.check_proxies(stage.settings(**local)).state == "ok"
    return found


def no_model_key(stage: Stage) -> Check:
    return checks.check_brain(stage.settings(**{"brain.engine": "claude"}))


def model_server_away(stage: Stage) -> Check:
    brain = {"engine": "claude", "base_url": f"http://127.0.0.1:{closed_port()}"}
    return brain_checks.brain_checks(stage.settings(brains={"it": brain}))[0]()


def model_key_refused(stage: Stage) -> Check:
    url = stage.until_end.enter_context(answering(401, {}))
    brain = {"engine": "claude", "base_url": url}
    one = brain_checks.brain_checks(stage.settings(brains={"it": brain}, anthropic_api_key="k"))[0]()
    plain = checks.check_brain(stage.settings(anthropic_api_key="k", **{"brain.base_url": url}))
    assert (plain.state, plain.found) == (one.state, one.found)
    return one


def hand_does_not_load(stage: Stage) -> Check:
    (stage.folder / "crm.py").write_text("import no_such_package\n")
    [check] = hand_checks(stage.settings(hands={"crm": {"server": f"{stage.folder}/crm.py:server"}}))
    found = check()
    assert "no_such_package" in found.found
    return found


def hand_lacks_secret(stage: Stage) -> Check:
    hand = {"server": "agents.example_hands.crm:server", "secrets": ["CRM_TOKEN"]}
    [check] = hand_checks(stage.settings(hands={"crm": hand}))
    return check()


def program_missing(stage: Stage) -> Check:
    stage.patch.setattr("agents.commands.checks.shutil.which", lambda name: None)
    assert checks.check_ripgrep().state == "problem"
    return checks.check_bubblewrap(stage.settings())


def namespaces_forbidden(stage: Stage) -> Check:
    fake = stage.folder / "bwrap"
    fake.write_text("#!/bin/sh\necho 'setting up uid map: Permission denied' >&2\nexit 1\n")
    fake.chmod(0o755)
    stage.patch.setattr("agents.commands.checks.shutil.which", lambda name: str(fake))
    stage.proc(sys__kernel__apparmor_restrict_unprivileged_userns="1\n", sys__user__max_user_namespaces="9\n")
    found = checks.check_bubblewrap(stage.settings())
    assert "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0" in found.remedy
    assert "max_user_namespaces" not in found.remedy
    return found


def haproxy_missing(stage: Stage) -> Check:
    stage.patch.setenv("RAY_SERVE_HAPROXY_BINARY_PATH", "/nowhere/haproxy")
    return checks.check_haproxy(stage.settings(proxy="haproxy"))


def ray_does_not_load(stage: Stage) -> Check:
    stage.patch.setattr(checks, "run_probe", failing("ModuleNotFoundError: No module named 'ray'"))
    return checks.check_ray()


def ray_cluster_away(stage: Stage) -> Check:
    stage.patch.setenv("RAY_ADDRESS", f"127.0.0.1:{closed_port()}")
    return platform_checks.check_ray_cluster()


def ray_version_differs(stage: Stage) -> Check:
    listener = stage.until_end.enter_context(socket.create_server(("127.0.0.1", 0)))
    stage.patch.setenv("RAY_ADDRESS", f"127.0.0.1:{listener.getsockname()[1]}")
    told = "RuntimeError: Version mismatch: The cluster was started with:\n    Ray: 2.9.0\n"
    stage.patch.setattr(platform_checks, "run_probe", failing(told))
    found = platform_checks.check_ray_cluster()
    assert "version of Ray" in found.remedy
    return found


def redis_away(stage: Stage) -> Check:
    stage.patch.setenv("RAY_REDIS_ADDRESS", f"127.0.0.1:{closed_port()}")
    return platform_checks.check_redis()


def redis_refuses(stage: Stage) -> Check:
    address = stage.until_end.enter_context(saying(b"-NOAUTH Authentication required.\r\n"))
    stage.patch.setenv("RAY_REDIS_ADDRESS", address)
    return platform_checks.check_redis()


def parts_are_down(stage: Stage) -> Check:
    told = {"ready": False, "harness": [], "sandboxes": {}, "brains": {}}
    url = stage.until_end.enter_context(answering(503, told))
    stage.patch.setattr(platform_checks, "find_platform", lambda settings: PlatformRecord(1, url))
    found = platform_checks.check_parts(stage.settings())
    assert "no harness and no sandbox host" in found.found
    return found


def failing(said: str) -> Callable[..., object]:
    """A probe whose program fails and says so."""
    command = [sys.executable, "-c", "import sys; sys.exit(sys.argv[1])", said]
    real = platform_checks.run_probe
    return lambda given, seconds, environment=None: real(command, seconds)


FAULTS: dict[Callable[[Stage], Check], tuple[str, str]] = {
    data_directory_not_writable: ("data directory", "problem"),
    disk_full: ("disk", "problem"),
    data_on_network: ("file system", "problem"),
    data_in_memory: ("file system", "note"),
    data_in_container: ("file system", "note"),
    database_away: ("database", "problem"),
    database_newer: ("database", "problem"),
    database_older: ("database", "note"),
    database_locked: ("database", "problem"),
    database_damaged: ("database", "problem"),
    data_of_another_machine: ("database", "note"),
    clocks_differ: ("clock", "problem"),
    vault_key_unreadable: ("vault key", "problem"),
    vault_key_lost: ("vault secrets", "problem"),
    credential_expired: ("vault secrets", "note"),
    checkpoints_unusable: ("checkpoints", "problem"),
    shared_memory_small: ("shared memory", "note"),
    memory_limited: ("memory", "note"),
    few_open_files: ("open files", "problem"),
    port_taken: ("port", "problem"),
    platform_was_killed: ("platform", "note"),
    parts_are_down: ("parts", "problem"),
    exposed_without_key: ("exposure", "problem"),
    exposure_is_not_told: ("exposure", "note"),
    haproxy_listens_everywhere: ("exposure", "note"),
    proxy_before_this_machine: ("proxy variables", "problem"),
    no_model_key: ("brain", "problem"),
    model_server_away: ("brain it@1", "problem"),
    model_key_refused: ("brain it@1", "problem"),
    hand_does_not_load: ("hand crm", "problem"),
    hand_lacks_secret: ("hand crm", "problem"),
    program_missing: ("sandbox", "problem"),
    namespaces_forbidden: ("sandbox", "problem"),
    haproxy_missing: ("haproxy", "problem"),
    ray_does_not_load: ("ray", "problem"),
    ray_cluster_away: ("ray cluster", "problem"),
    ray_version_differs: ("ray cluster", "problem"),
    redis_away: ("redis", "problem"),
    redis_refuses: ("redis", "problem"),
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_the_doctor_finds_it_and_says_what_to_do(fault: Callable[[Stage], Check], stage: Stage) -> None:
    found = fault(stage)
    assert (found.name, found.state) == FAULTS[fault]
    assert found.found and found.remedy


def test_the_guide_lists_what_the_doctor_finds() -> None:
    """Both ways: what is listed is provoked above, under the check and with the state that are named there."""
    rows = re.findall(r"^\| `([a-z ]+)`(?: \*(problem|note)\*)? \| .*<!-- (\w+) -->", GUIDE.read_text(), re.MULTILINE)
    listed = {name: (check, state or "problem") for check, state, name in rows}
    known = {
        fault.__name__: (name.split(" it@1")[0].split(" crm")[0], state) for fault, (name, state) in FAULTS.items()
    }
    assert listed == known
    assert len(listed) >= 20


def test_every_check_of_the_examination_is_in_the_guide(stage: Stage) -> None:
    """No check without a word on it: those that only ever say ok, or tell of versions, are listed apart."""
    stage.patch.setattr(checks, "check_ray", lambda: Check("ray", "ok", ""))
    given: dict[str, Any] = {"brains": {"it": {"engine": "replay"}}, "standby.enabled": True}
    hand = {"crm": {"server": "agents.example_hands.crm:server"}}
    names = {
        check.name.removesuffix(" it@1").removesuffix(" crm")
        for check in checks.findings(stage.settings(hands=hand, **given))
    }
    text = GUIDE.read_text()
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []
