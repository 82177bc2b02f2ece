"""Copying repositories from a server that wants a token.

Bug class this catches: a token that stays in the copy, a failure whose reason the client cannot tell, half a copy that
is left behind, a connection into a network that is closed, something of the repository that is run.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path

import pytest
from pydantic import SecretStr

from agents.net.guard import Guard
from agents.repositories.cloning import Cloner
from agents.repositories.failures import RepositoryFailed
from agents.repositories.source import RepositorySource

from .git_server import TOKEN, GitServer, git, put_many


def cloner(seconds: float = 30, *, private: bool = True, most_bytes: int = 1 << 30) -> Cloner:
    opened = (ip_network("127.0.0.0/8"),) if private else ()
    return Cloner(Guard(opened), seconds=seconds, most_bytes=most_bytes)


def source(server: GitServer, **checkout: str) -> RepositorySource:
    return RepositorySource(f"{server.url}/project.git", **checkout)


async def test_the_default_branch_is_copied_and_the_token_is_nowhere_in_it(server: GitServer, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    await cloner().clone(source(server), SecretStr(TOKEN), target)
    assert (target / "README").read_text() == "main"
    assert git(target, "rev-parse", "--abbrev-ref", "HEAD") == "main"
    assert git(target, "config", "remote.origin.url") == f"{server.url}/project.git"
    assert git(target, "status", "--porcelain") == ""
    kept = b"".join(each.read_bytes() for each in target.rglob("*") if each.is_file())
    assert TOKEN.encode() not in kept and b"Basic" not in kept
    assert not any((target / ".git" / "hooks").glob("*"))


async def test_a_branch_is_checked_out_and_followed(server: GitServer, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    await cloner().clone(source(server, branch="feature/x"), SecretStr(TOKEN), target)
    assert (target / "README").read_text() == "feature"
    assert git(target, "rev-parse", "--abbrev-ref", "HEAD@{upstream}") == "origin/feature/x"


async def test_a_commit_is_checked_out_also_one_that_no_branch_leads_to(
    server: GitServer, origin: Path, tmp_path: Path
) -> None:
    git(origin, "config", "uploadpack.allowAnySHA1InWant", "true")
    sha = git(origin, "rev-parse", "feature/x")
    git(origin, "branch", "-D", "feature/x")
    target = tmp_path / "copy"
    await cloner().clone(source(server, sha=sha), SecretStr(TOKEN), target)
    assert (target / "README").read_text() == "feature"
    assert git(target, "rev-parse", "HEAD") == sha


async def test_an_empty_repository_is_copied(server: GitServer, origin: Path, tmp_path: Path) -> None:
    git(origin.parent, "init", "-q", "--bare", "empty.git")
    await cloner().clone(RepositorySource(f"{server.url}/empty.git"), SecretStr(TOKEN), tmp_path / "copy")
    assert (tmp_path / "copy" / ".git").is_dir()


@pytest.mark.parametrize(
    ("token", "path", "checkout", "reason"),
    [
        (None, "project.git", {}, "authentication"),
        ("ghp_wrong", "project.git", {}, "authentication"),
        (TOKEN, "other.git", {}, "not_found"),
        (TOKEN, "project.git", {"branch": "gone"}, "checkout"),
        (TOKEN, "project.git", {"sha": "0" * 40}, "checkout"),
    ],
)
async def test_each_failure_has_its_reason_and_leaves_nothing(
    server: GitServer, tmp_path: Path, token: str | None, path: str, checkout: dict[str, str], reason: str
) -> None:
    wanted = RepositorySource(f"{server.url}/{path}", **checkout)
    with pytest.raises(RepositoryFailed) as failed:
        await cloner().clone(wanted, None if token is None else SecretStr(token), tmp_path / "copy")
    problem = failed.value.problem()
    assert (problem.type, problem.about) == (f"repository_{reason}_error", {"repository_url": wanted.url})
    assert "ghp_" not in problem.message
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize(("status", "reason"), [(403, "forbidden"), (301, "clone")])
async def test_a_refusal_and_a_move_are_told_apart(server: GitServer, tmp_path: Path, status: int, reason: str) -> None:
    server.refuses = status
    with pytest.raises(RepositoryFailed) as failed:
        await cloner().clone(source(server), SecretStr(TOKEN), tmp_path / "copy")
    assert failed.value.reason == reason


async def test_a_closed_network_and_a_silent_server_are_failures_to_clone(server: GitServer, tmp_path: Path) -> None:
    silent = RepositorySource("http://127.0.0.1:1024/project.git")
    for made, wanted in ((cloner(private=False), source(server)), (cloner(), silent)):
        with pytest.raises(RepositoryFailed) as failed:
            await made.clone(wanted, SecretStr(TOKEN), tmp_path / "copy")
        assert failed.value.reason == "clone"


async def test_a_copy_is_bounded_in_bytes(server: GitServer, origin: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    (work / "large").write_bytes(bytes(range(256)) * 4096)
    git(work, "add", ".")
    git(work, "commit", "-q", "-m", "large")
    git(work, "push", "-q", str(origin), "main")
    with pytest.raises(RepositoryFailed):
        await cloner(most_bytes=64 * 1024).clone(source(server), SecretStr(TOKEN), tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize(
    ("content", "names", "depth", "checkouts"),
    [("x" * 2**20, 70, 1, ("HEAD", "branch", "sha")), ("", 100, 3, ("HEAD",))],
    ids=["bytes", "files"],
)
async def test_what_is_checked_out_is_bounded_in_bytes_and_in_files(
    server: GitServer, origin: Path, tmp_path: Path, content: str, names: int, depth: int, checkouts: Sequence[str]
) -> None:
    put_many(origin, content, names=names, depth=depth)
    named = {"HEAD": {}, "branch": {"branch": "main"}, "sha": {"sha": git(origin, "rev-parse", "main")}}
    for checkout in checkouts:
        wanted = source(server, **named[checkout])
        with pytest.raises(RepositoryFailed, match="is to be checked out has more than") as failed:
            await cloner(most_bytes=64 << 20).clone(wanted, SecretStr(TOKEN), tmp_path / "copy")
        assert failed.value.reason == "clone"
        assert not (tmp_path / "copy").exists()
    put_many(origin, content, names=3, depth=depth)
    await cloner(most_bytes=64 << 20).clone(source(server), SecretStr(TOKEN), tmp_path / "copy")
    assert sum(each.is_file() for each in (tmp_path / "copy").rglob("n*")) == 3**depth


class Elsewhere(Guard):
    """Finds every name at a public address, too."""

    async def addresses(self, host: str, port: int) -> list[str]:
        return [*await super().addresses(host, port), "8.8.8.8"]


async def test_no_token_crosses_the_internet_in_the_clear(server: GitServer, tmp_path: Path) -> None:
    server.stalls_after = 0
    made = Cloner(Elsewhere((ip_network("127.0.0.0/8"),)), seconds=30, most_bytes=1 << 30)
    with pytest.raises(RepositoryFailed, match="in the clear"):
        await made.clone(source(server), SecretStr(TOKEN), tmp_path / "copy")
    assert not server.stalled.is_set()


async def test_git_dies_with_whoever_copies(server: GitServer, tmp_path: Path) -> None:
    server.stalls_after = 1  # the question that comes before git's
    command = [sys.executable, "-m", "tests.unit.repositories.copier", source(server).url, str(tmp_path / "copy")]
    copier = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE)
    assert copier.stdin is not None
    copier.stdin.write(f"{TOKEN}\n".encode())
    async with asyncio.timeout(20):
        await server.stalled.wait()
        copier.kill()
        await copier.wait()
        await server.gone.wait()


async def test_a_copy_that_is_called_off_leaves_no_git(server: GitServer, tmp_path: Path) -> None:
    server.stalls_after = 1
    copying = asyncio.create_task(cloner().clone(source(server), SecretStr(TOKEN), tmp_path / "copy"))
    async with asyncio.timeout(20):
        await server.stalled.wait()
        copying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await copying
        await server.gone.wait()
    assert not (tmp_path / "copy").exists()


async def test_gits_processes_are_bounded_in_memory_and_leave_no_core(server: GitServer, tmp_path: Path) -> None:
    program, said = tmp_path / "git", tmp_path / "said"
    program.write_text(f"#!/bin/bash\nulimit -v >> {said}; ulimit -c >> {said}; env >> {said}; exit 1\n")
    program.chmod(0o755)
    strange = Cloner(Guard((ip_network("127.0.0.0/8"),)), seconds=30, most_bytes=1 << 30, program=str(program))
    with pytest.raises(RepositoryFailed):
        await strange.clone(source(server), SecretStr(TOKEN), tmp_path / "copy")
    memory, core, *environment = said.read_text().splitlines()
    assert (memory, core) == (str(4 * 1024**2), "0")
    # By that a host finds what another has left (see leftovers).
    assert f"HECATON_SANDBOX={tmp_path / 'copy'}" in environment


@pytest.mark.parametrize(
    ("script", "told"),
    [("echo git version 2.34.1", "older than 2.37"), ("exit 127", "no git that works"), ("echo help", "no git that")],
)
async def test_a_git_that_looks_names_up_for_itself_is_not_used(
    server: GitServer, tmp_path: Path, script: str, told: str
) -> None:
    program, ran = tmp_path / "git", tmp_path / "ran"
    program.write_text(f"#!/bin/sh\necho $* >> {ran}\n{script}\n")
    program.chmod(0o755)
    old = Cloner(Guard((ip_network("127.0.0.0/8"),)), seconds=30, most_bytes=1 << 30, program=str(program))
    with pytest.raises(RepositoryFailed, match=told):
        await old.clone(source(server), SecretStr(TOKEN), tmp_path / "copy")
    assert ran.read_text() == "--version\n"
