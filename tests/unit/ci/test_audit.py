"""``make audit``: the real pip-audit, against a source of advisories of our own (OSV's protocol)."""

from __future__ import annotations

import importlib.util
import json
import os
import threading
import time
from collections.abc import Iterator
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[3] / ".ci" / "audit.py"
HASH = f"sha256:{'0' * 64}"
VULNERABILITY: dict[str, Any] = {
    "id": "PYSEC-1",
    "aliases": ["CVE-1"],
    "summary": "bad",
    "affected": [
        {
            "package": {"name": "badpkg", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]}],
        }
    ],
}


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    import sys

    sys.modules["audit"] = module
    spec.loader.exec_module(module)
    return module


class Source(ThreadingHTTPServer):
    """Answers what is known of a package; with ``status`` other than 200 it answers nothing else."""

    known: dict[str, list[dict[str, Any]]]
    status = 200


class Handler(BaseHTTPRequestHandler):
    server: Source

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        found = self.server.known.get(asked["package"]["name"])
        body = json.dumps({"vulns": found} if found else {}).encode()
        self.send_response(self.server.status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def source() -> Iterator[Source]:
    server = Source(("127.0.0.1", 0), Handler)
    server.known = {"badpkg": [VULNERABILITY]}
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class Audit:
    """Runs the audit in a folder."""

    def __init__(self, module: ModuleType, folder: Path, source: Source, capsys: pytest.CaptureFixture[str]) -> None:
        self._module, self.folder, self._source, self._capsys = module, folder, source, capsys
        self.more: tuple[str, ...] = ()
        self.lock(badpkg="1.0", goodpkg="2.0")
        self.exceptions("[]")

    def lock(self, **packages: str) -> None:
        lines = [f"{name}=={version} --hash={HASH}" for name, version in packages.items()]
        (self.folder / "requirements.lock").write_text("\n".join(lines) + "\n")

    def exceptions(self, text: str) -> None:
        (self.folder / "exceptions.yaml").write_text(text)

    def answer(self, *found: dict[str, Any]) -> None:
        """Stand in for pip-audit, which takes seconds to start, with a report; none: with its failure."""
        told = [{"name": "badpkg", "version": "1.0", "vulns": list(found)}, {"name": "goodpkg", "version": "2.0"}]
        (self.folder / "report").write_text(json.dumps({"dependencies": told}))
        self.program("#!/bin/sh\ncat " + str(self.folder / "report") + "\n")

    def fail(self) -> None:
        self.program('#!/bin/sh\nfor each; do [ "$each" = --dry-run ] && exit 0; done\nexit 1\n')

    def program(self, text: str) -> None:
        stand_in = self.folder / "pip-audit"
        stand_in.write_text(text)
        stand_in.chmod(0o755)
        self.more = ("--program", str(stand_in))

    def run(self, *more: str) -> tuple[int, str]:
        places = ["--lock", "requirements.lock", "--exceptions", "exceptions.yaml", "--cache", "cache"]
        arguments = [str(self.folder / each) if not each.startswith("--") else each for each in places]
        url = f"http://127.0.0.1:{self._source.server_port}/v1/query"
        status = self._module.main([*arguments, "--osv-url", url, *self.more, *more])
        return status, self._capsys.readouterr().out


@pytest.fixture
def run(audit: ModuleType, tmp_path: Path, source: Source, capsys: pytest.CaptureFixture[str]) -> Audit:
    return Audit(audit, tmp_path, source, capsys)


def exception(expires: date, name: str = "CVE-1") -> str:
    return json.dumps([]) if not name else f"- id: {name}\n  reason: never called\n  expires: {expires}\n"


def test_a_vulnerability_of_a_locked_package_fails_and_says_what_mends_it(run: Audit) -> None:
    status, said = run.run()
    assert status == 1
    assert "VULNERABLE: badpkg 1.0: CVE-1, PYSEC-1; fixed in 1.1" in said and "2 packages" in said


FOUND = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["1.1"]}


def test_a_source_that_is_away_is_told_and_no_fault(run: Audit, source: Source) -> None:
    source.status = 503
    status, said = run.run()
    assert status == 0 and "NOT DONE" in said


def test_nothing_known_is_well(run: Audit) -> None:
    run.answer()
    assert run.run()[0] == 0


def test_an_exception_holds_to_its_day_and_not_longer(run: Audit) -> None:
    run.answer(FOUND)
    run.exceptions(exception(date.today()))
    status, said = run.run()
    assert status == 0 and "never called" in said
    run.exceptions(exception(date.today() - timedelta(days=1)))
    status, said = run.run()
    assert status == 1 and "expired" in said
    run.exceptions(exception(date.today(), "CVE-2"))
    status, said = run.run()
    assert status == 1 and "for nothing that is found" in said


def test_what_the_source_said_last_stands_in_for_the_same_lock_only(run: Audit) -> None:
    run.answer(FOUND)
    assert run.run()[0] == 1
    run.fail()
    status, said = run.run()
    assert status == 1 and "within a week" in said
    (kept,) = (run.folder / "cache").iterdir()
    os.utime(kept, (0, time.time() - 8 * 24 * 3600))
    assert run.run()[0] == 0
    os.utime(kept)
    assert run.run()[0] == 1
    run.lock(badpkg="1.0")
    assert "NOT DONE" in run.run()[1]


def test_an_answer_that_cannot_be_kept_is_judged_all_the_same(run: Audit) -> None:
    (run.folder / "cache").write_text("a file where the folder would be")
    run.answer()
    assert run.run()[0] == 0
    run.answer(FOUND)
    assert run.run()[0] == 1


@pytest.mark.parametrize(
    "text",
    ["- id: x", "- id: x\n  reason: ''\n  expires: 2099-01-01", "x: [", "- id: x\n  reason: r\n  expires: soon"],
)
def test_a_list_of_exceptions_that_says_too_little_is_refused(run: Audit, text: str) -> None:
    run.answer()
    run.exceptions(text)
    assert run.run()[0] == 2


def test_a_lock_that_cannot_be_read_is_no_matter_of_the_network(run: Audit) -> None:
    run.program("#!/bin/sh\necho unpinned >&2\nexit 1\n")
    status, said = run.run()
    assert status == 2 and "unpinned" in said


def test_a_source_that_never_answers_ends_in_time(run: Audit) -> None:
    run.program("#!/bin/sh\nexec sleep 60\n")
    status, said = run.run("--seconds", "0.5")
    assert status == 0 and "NOT DONE" in said


def test_the_projects_own_list_can_be_read(audit: ModuleType) -> None:
    for each in audit.exemptions_of(SCRIPT.with_name("audit-exceptions.yaml")):
        assert each.reason
