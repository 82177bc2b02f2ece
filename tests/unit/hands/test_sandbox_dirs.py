"""Where sandboxes live: reachable, private, claimed by rename, reaped when their host is dead."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from agents.hands.sandbox_dirs import SandboxRoot
from agents.hands.stand_in import remove_abandoned


async def test_private_directories_belong_to_the_sandboxes_own_user(place: Path) -> None:
    root = SandboxRoot(place / "root")
    root.open()
    one, two = root.make("sesn_1"), root.make("sesn_2")
    assert one.uid is not None and two.uid is not None and one.uid != two.uid
    assert one.of("workspace").stat().st_uid == one.uid
    assert one.of("workspace").stat().st_mode & 0o777 == 0o700
    assert one.base.stat().st_uid == 0 and one.base.stat().st_mode & 0o777 == 0o711
    assert one.of("calls").stat().st_uid == 0
    await root.close()


async def test_a_session_keeps_its_user_over_restarts_of_the_server(place: Path) -> None:
    first = SandboxRoot(place / "root")
    first.open()
    uid = first.make("sesn_1").uid
    await first.close()
    second = SandboxRoot(place / "root")
    second.open()
    assert second.make("sesn_1").uid == uid
    await second.close()


async def test_claiming_moves_a_warm_sandbox_to_its_session(place: Path) -> None:
    root = SandboxRoot(place / "root")
    root.open()
    warm = root.make_warm()
    (warm.of("workspace") / "f").write_text("x")
    claimed = root.claim(warm, "sesn_1")
    assert claimed.base == root.path / "sesn_1"
    assert (claimed.of("workspace") / "f").read_text() == "x"
    await root.close()


async def test_a_session_with_files_is_never_overwritten_by_a_warm_sandbox(place: Path) -> None:
    root = SandboxRoot(place / "root")
    root.open()
    root.make("sesn_1")
    with pytest.raises(OSError, match="not empty"):
        root.claim(root.make_warm(), "sesn_1")
    await root.close()


@pytest.mark.parametrize("name", ["", ".", "..", ".warm", "../x", "a/b", "x" * 200, "a\0b", "-rf"])
def test_a_session_id_that_is_no_plain_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="session_id"):
        SandboxRoot(Path("/nonexistent")).session_path(name)


async def test_what_a_dead_host_left_is_reaped_and_a_living_hosts_is_not(place: Path) -> None:
    dead, living = SandboxRoot(place / "root"), SandboxRoot(place / "root")
    dead.open()
    living.open()
    lost, kept = dead.make_warm(), living.make_warm()
    assert dead._lock is not None
    dead._lock.release()  # what the kernel does when the process ends
    third = SandboxRoot(place / "root")
    third.open()
    assert await third.reap() == 1
    assert not lost.base.exists()
    assert kept.base.exists()
    await living.close()
    await third.close()


async def test_a_root_below_a_closed_directory_moves_where_sandboxes_can_reach_it(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    root = SandboxRoot(closed / "root")
    with caplog.at_level(logging.WARNING):
        root.open()
    try:
        assert str(root.path).startswith("/var/tmp/hecaton-")
        assert len(caplog.records) == 1
        again = SandboxRoot(closed / "root")
        again.open()
        assert again.path == root.path
        again.make("sesn_1")
        await again.close()
        assert root.path.exists()
        await root.remove(root.session_path("sesn_1"))
    finally:
        await root.close()
    assert not root.path.exists()


async def test_a_stand_in_goes_when_the_directory_it_stands_in_for_was_deleted(place: Path) -> None:
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    root = SandboxRoot(closed / "root")
    root.open()
    try:
        root.make("sesn_1")
        await root.close()
        assert root.path not in remove_abandoned(), "its directory is there"
        shutil.rmtree(closed)
        again = SandboxRoot(root.path)  # as a host that still lives on it
        again.open()
        assert root.path not in remove_abandoned()
        await again.close()
        note = root.path / ".stands-in-for"
        known = note.read_bytes()
        note.write_bytes(known.replace(f",{place.stat().st_dev}]".encode(), b",1]"))
        assert root.path not in remove_abandoned(), "its disk is not there"
        note.write_bytes(known)
        assert root.path in remove_abandoned()
        assert not root.path.exists()
    finally:
        shutil.rmtree(root.path, ignore_errors=True)


async def test_removing_what_is_not_there_does_nothing(place: Path) -> None:
    root = SandboxRoot(place / "root")
    root.open()
    await root.remove(root.session_path("sesn_none"))
    await root.close()
    assert list((place / "root" / ".warm").iterdir()) == []
