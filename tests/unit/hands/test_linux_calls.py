"""Becoming somebody else for the start of a program: wholly for the program, for a moment for the thread."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.hands.linux_calls import spawning_as

_UID = 200_123
_FACTS = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapAmb")


def facts(status: str) -> dict[str, str]:
    lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return {name: " ".join(lines[name].split()) for name in _FACTS}


def own_facts() -> dict[str, str]:
    return facts(Path("/proc/thread-self/status").read_text())


def in_a_thread(work: Callable[[], None]) -> None:
    """Run *work* in a thread of its own, so that what it does to its ids stays there."""
    failures: list[BaseException] = []

    def body() -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def test_a_program_started_as_somebody_else_has_no_way_back() -> None:
    def work() -> None:
        os_groups = os.getgroups()
        with spawning_as(_UID):
            done = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True, check=True)
        program = facts(done.stdout)
        assert program["Uid"] == program["Gid"] == " ".join([str(_UID)] * 4)
        assert program["Groups"] == ""
        assert {program[name] for name in _FACTS if name.startswith("Cap")} == {"0" * 16}
        assert os.getgroups() == os_groups

    in_a_thread(work)


def test_the_thread_is_itself_again_afterwards() -> None:
    def work() -> None:
        before = own_facts()
        with spawning_as(_UID):
            assert own_facts()["Uid"].split() == [str(_UID), str(_UID), "0", str(_UID)]
        assert own_facts() == before
        with pytest.raises(FileNotFoundError), spawning_as(_UID):
            subprocess.Popen(["/nonexistent"])
        assert own_facts() == before

    in_a_thread(work)


def test_other_threads_never_become_somebody_else() -> None:
    changed, looked = threading.Event(), threading.Event()

    def work() -> None:
        with spawning_as(_UID):
            changed.set()
            looked.wait(5)

    thread = threading.Thread(target=work)
    thread.start()
    assert changed.wait(5)
    try:
        assert os.getresuid() == (0, 0, 0)
    finally:
        looked.set()
        thread.join()


def test_a_thread_keeps_its_parent_death_signal() -> None:
    program = (
        "import ctypes, signal, subprocess\n"
        "from agents.hands.linux_calls import spawning_as\n"
        "libc = ctypes.CDLL(None)\n"
        "libc.prctl(1, signal.SIGUSR1, 0, 0, 0)\n"
        f"with spawning_as({_UID}):\n"
        "    subprocess.run(['true'], check=True)\n"
        "found = ctypes.c_int(0)\n"
        "libc.prctl(2, ctypes.byref(found), 0, 0, 0)\n"
        "print(found.value == signal.SIGUSR1)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_none_changes_nothing() -> None:
    before = own_facts()
    with spawning_as(None):
        assert own_facts() == before
