"""Attempts to get out of the sandbox, each really made, and the host looked at afterwards.

Bug class this catches: a mount, a namespace, a limit or a check that somebody removed because nothing
seemed to need it. Source: the issue's list of escape attempts (step A).
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.unit.hands.conftest import Hands, Start, said, sandbox_processes

MIB = 1024 * 1024


async def wait_until(condition, seconds: float = 5.0) -> bool:
    """Wait for something on the host that no event announces."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        await asyncio.sleep(0.02)
    return bool(condition())


# --- the host's files -------------------------------------------------------------------------------------


async def test_host_files_are_not_there(hands: Hands, place: Path) -> None:
    secret = place / "secret.txt"
    secret.write_text("host secret")
    secret.chmod(0o644)
    out = await hands.out(f"cat {secret}; cat {Path(__file__)}; ls /root /work /var/lib; echo end")
    assert "host secret" not in out
    assert out.count("No such file") >= 4


async def test_etc_shadow_and_the_hosts_users_are_not_there(hands: Hands) -> None:
    out = await hands.out("cat /etc/shadow /etc/gshadow /etc/sudoers; cut -d: -f1 /etc/passwd")
    assert out.splitlines()[-3:] == ["root", "agent", "nobody"]
    assert out.count("No such file") == 3
    assert "no such file" in said(await hands.one("read", file_path="/etc/shadow"))


async def test_private_keys_of_the_host_are_not_there(hands: Hands) -> None:
    out = await hands.out("ls /etc/ssl/private /etc/ssh /home; ls /etc")
    assert "private" in out and "No such file" in out
    assert not {"ssh", "shadow", "machine-id", "crontab"} & set(out.split())


async def test_dot_dot_paths_end_at_the_sandboxes_root(hands: Hands, place: Path) -> None:
    (place / "secret.txt").write_text("host secret")
    up = "../" * 20
    assert "no such file" in said(await hands.one("read", file_path=f"{up}{place}/secret.txt"))
    await hands.one("write", file_path=f"{up}{place}/owned.txt", content="x")
    assert not (place / "owned.txt").exists()


async def test_another_sessions_workspace_is_not_there(hands: Hands) -> None:
    await hands.one("write", session="sesn_victim", file_path="diary.txt", content="private diary")
    victim = hands.host.root / "sesn_victim" / "workspace" / "diary.txt"
    assert victim.read_text() == "private diary"
    # Not through what the system brings itself, which takes a quarter of a minute.
    elsewhere = r"find / \( -path /usr -o -path /proc -o -path /sys \) -prune -o -name diary.txt -print 2>/dev/null"
    out = await hands.out(f"cat {victim}; {elsewhere}; echo end")
    assert "private diary" not in out
    assert out.endswith("\nend") and "diary.txt\nend" not in out
    assert "no such file" in said(await hands.one("read", file_path=str(victim)))


async def test_another_sessions_files_belong_to_another_user(hands: Hands) -> None:
    await hands.out("true", session="sesn_a")
    await hands.out("true", session="sesn_b")
    owners = {(hands.host.root / name / "workspace").stat().st_uid for name in ("sesn_a", "sesn_b")}
    assert len(owners) == 2
    assert 0 not in owners


# --- links ------------------------------------------------------------------------------------------------


async def test_a_symlink_is_followed_inside_only_when_read(hands: Hands, place: Path) -> None:
    (place / "secret.txt").write_text("host secret")
    await hands.out(f"ln -s {place}/secret.txt link; ln -s / root; ln -s /etc/shadow shadow")
    for path in ("link", f"root{place}/secret.txt", "shadow"):
        assert "no such file" in said(await hands.one("read", file_path=path))


async def test_a_symlink_is_followed_inside_only_when_written(hands: Hands, place: Path) -> None:
    target = place / "config"
    target.write_text("original")
    target.chmod(0o666)
    await hands.out(f"ln -s {target} link; ln -s {place} dir")
    for path in ("link", "dir/new.txt", "dir/config"):
        assert (await hands.one("write", file_path=path, content="owned")).is_error
    assert target.read_text() == "original"
    assert not (place / "new.txt").exists()


async def test_a_symlink_is_followed_inside_only_when_edited(hands: Hands, place: Path) -> None:
    target = place / "config"
    target.write_text("original")
    target.chmod(0o666)
    await hands.out(f"ln -s {target} link")
    assert (await hands.one("edit", file_path="link", old_string="original", new_string="owned")).is_error
    assert target.read_text() == "original"


async def test_a_symlinked_directory_is_not_walked_by_glob(hands: Hands, place: Path) -> None:
    (place / "secret.txt").write_text("x")
    await hands.out(f"ln -s {place} out; ln -s / root; mkdir own; touch own/mine.txt")
    found = said(await hands.one("glob", pattern="**/*.txt"))
    assert found == "/workspace/own/mine.txt"
    assert (await hands.one("glob", pattern="*", path=f"root{place}")).is_error


async def test_a_symlink_does_not_lead_grep_out(hands: Hands, place: Path) -> None:
    (place / "secret.txt").write_text("host secret")
    await hands.out(f"ln -s {place} out; ln -s {place}/secret.txt file")
    assert said(await hands.one("grep", pattern="host secret")) == "no matches"
    assert "host secret" not in said(await hands.one("grep", pattern="host secret", path="file"))


async def test_grep_arguments_cannot_become_options_or_commands(hands: Hands) -> None:
    await hands.one("write", file_path="a.txt", content="$(touch /workspace/owned)\n")
    await hands.one("grep", pattern="$(touch /workspace/owned)")
    await hands.one("grep", pattern="--pre=/bin/sh")
    await hands.one("grep", pattern="x", path="'; touch /workspace/owned; '")
    await hands.one("grep", pattern="x", path="--pre=touch")
    assert "owned" not in await hands.out("ls /workspace")


async def test_a_hard_link_to_a_system_file_is_refused(hands: Hands) -> None:
    out = await hands.out("ln /etc/passwd mine; ln /usr/bin/env mine2; ls")
    assert out.count("failed to create hard link") == 2
    assert "mine\n" not in out


async def test_magic_links_of_proc_do_not_lead_out(hands: Hands, place: Path) -> None:
    (place / "secret.txt").write_text("host secret")
    for prefix in ("/proc/self/root", "/proc/1/root", "/proc/self/cwd", "/proc/2/root", f"/proc/{os.getpid()}/root"):
        result = await hands.one("read", file_path=f"{prefix}{place}/secret.txt")
        assert result.is_error
        assert "host secret" not in said(result)
    out = await hands.out(f"cat /proc/self/root{place}/secret.txt /proc/1/root{place}/secret.txt")
    assert "host secret" not in out


async def test_a_racing_symlink_cannot_lead_a_write_out(hands: Hands, place: Path) -> None:
    target = place / "target"
    target.mkdir(mode=0o777)
    target.chmod(0o777)
    await hands.out(
        f"mkdir real; (while :; do ln -sfn {target} swap; ln -sfn /workspace/real swap; done) >/dev/null 2>&1 &"
    )
    for number in range(100):
        await hands.one("write", file_path=f"swap/{number}", content="x")
    assert list(target.iterdir()) == []


# --- processes of the host --------------------------------------------------------------------------------


async def test_other_processes_are_not_in_proc(hands: Hands) -> None:
    pids = (await hands.out("echo /proc/[0-9]*")).split()
    assert len(pids) <= 4
    assert f"/proc/{os.getpid()}" not in pids or os.getpid() < 10


async def test_the_servers_environment_is_not_inherited(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = secrets.token_hex(8)
    monkeypatch.setenv("ANTHROPIC_API_KEY", secret)
    hands = await start()
    out = await hands.out("env; cat /proc/*/environ | tr '\\0' '\\n'; declare -p")
    assert secret not in out
    assert "PATH=/usr" in out
    assert secret not in said(await hands.one("read", file_path="/proc/1/environ"))


async def test_the_servers_descriptors_are_not_inherited(hands: Hands, place: Path) -> None:
    with (place / "open.txt").open("w+") as file:
        os.set_inheritable(file.fileno(), True)
        out = await hands.out("ls -l /proc/1/fd /proc/$$/fd /proc/self/fd")
    assert "open.txt" not in out
    links = [line.split(" -> ")[1] for line in out.splitlines() if " -> " in line]
    assert links
    assert all(link.startswith(("pipe:", "/dev/null", "/run/calls/", "/proc/", "anon_inode:")) for link in links), links


async def test_a_process_of_the_host_cannot_be_killed(hands: Hands) -> None:
    victim = subprocess.Popen(["sleep", "60"])
    try:
        await hands.out(f"kill -9 {victim.pid}; kill -9 {os.getpid()}; true")
        await hands.out("kill -9 -1; true")
        assert victim.poll() is None
    finally:
        victim.kill()
        victim.wait()


async def test_a_process_of_the_host_cannot_be_traced(hands: Hands) -> None:
    out = await hands.python(f"""
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
print("attach", libc.ptrace(16, {os.getpid()}, None, None), os.strerror(ctypes.get_errno()))
try:
    os.pidfd_open({os.getpid()})
    print("opened")
except OSError as error:
    print(error.strerror)
""")
    assert out.splitlines() == ["attach -1 No such process", "No such process"]


async def test_the_first_process_of_the_sandbox_has_no_privilege_to_take_over(hands: Hands) -> None:
    out = await hands.out("grep -E '^(Uid|CapEff|CapPrm|NoNewPrivs)' /proc/1/status; ls -l /proc/1/fd")
    assert "Uid:\t1000\t1000\t1000\t1000" in out
    assert "CapPrm:\t0000000000000000" in out
    assert "CapEff:\t0000000000000000" in out
    assert "NoNewPrivs:\t1" in out
    assert not [line for line in out.splitlines() if " -> /" in line and "/dev/null" not in line]


# --- the network ------------------------------------------------------------------------------------------


async def test_a_tcp_server_of_the_host_cannot_be_reached(hands: Hands) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        server.settimeout(0.2)
        out = await hands.out(f"echo hi > /dev/tcp/127.0.0.1/{port}")
        assert "refused" in out
        with pytest.raises(TimeoutError):
            server.accept()


async def test_the_internet_cannot_be_reached(hands: Hands) -> None:
    out = await hands.out(
        "echo > /dev/tcp/1.1.1.1/80; echo > /dev/udp/8.8.8.8/53; ls /sys/class/net 2>&1; cat /proc/net/dev"
    )
    assert out.count("80: Network is unreachable") == 1
    assert out.count("53: Network is unreachable") == 1
    assert "eth0" not in out


async def test_a_udp_server_of_the_host_hears_nothing(hands: Hands) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.2)
        await hands.out(f"echo hi > /dev/udp/127.0.0.1/{server.getsockname()[1]}")
        with pytest.raises(TimeoutError):
            server.recv(100)


async def test_an_abstract_unix_socket_of_the_host_cannot_be_reached(hands: Hands) -> None:
    name = f"hecaton-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0{name}")
        server.listen()
        out = await hands.python(f"""
import socket
try:
    socket.socket(socket.AF_UNIX).connect("\\0{name}")
    print("connected")
except OSError as error:
    print(error.strerror)
""")
    assert out == "Connection refused"


async def test_a_unix_socket_in_a_host_directory_cannot_be_reached(hands: Hands, place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place / "socket"))
        (place / "socket").chmod(0o777)
        server.listen()
        out = await hands.python(f"""
import socket
try:
    socket.socket(socket.AF_UNIX).connect("{place}/socket")
    print("connected")
except OSError as error:
    print(error.strerror)
""")
    assert out == "No such file or directory"


async def test_raw_sockets_are_refused(hands: Hands) -> None:
    out = await hands.python("""
import socket
for family in (socket.AF_INET, socket.AF_PACKET):
    try:
        socket.socket(family, socket.SOCK_RAW, 1)
        print("opened")
    except OSError as error:
        print(error.strerror)
""")
    assert out == "Operation not permitted\nAddress family not supported by protocol"


# --- resources --------------------------------------------------------------------------------------------


async def test_a_fork_bomb_hits_the_process_limit(start: Start) -> None:
    hands = await start(processes=40)
    await hands.out("true")
    uid = (hands.host.root / "sesn_a" / "workspace").stat().st_uid
    result = await hands.bash("bomb() { bomb | bomb & }; bomb; sleep 1", timeout_ms=3000)
    count = sum(1 for entry in Path("/proc").iterdir() if entry.name.isdecimal() and owner(entry) == uid)
    assert count <= 60
    assert result is not None
    assert subprocess.run(["true"], check=False).returncode == 0
    assert await hands.out("echo other sessions work", session="sesn_b") == "other sessions work"
    await hands.host.release("sesn_a", destroy=True)
    assert await wait_until(lambda: not any(e.name.isdecimal() and owner(e) == uid for e in Path("/proc").iterdir()))


def owner(entry: Path) -> int:
    try:
        return entry.stat().st_uid
    except OSError:
        return -1


async def test_a_memory_hog_hits_the_memory_limit(start: Start) -> None:
    hands = await start(memory_bytes=128 * MIB)
    out = await hands.python("""
try:
    block = bytearray(512 * 1024 * 1024)
    print("got it")
except MemoryError:
    print("refused")
""")
    assert out == "refused"


async def test_limits_cannot_be_raised_again(hands: Hands) -> None:
    out = await hands.out(
        "ulimit -u 100000; ulimit -d unlimited; ulimit -t unlimited; ulimit -f unlimited; ulimit -c 1"
    )
    assert out.count("cannot modify limit") == 5


async def test_one_huge_file_hits_the_file_limit(start: Start) -> None:
    hands = await start(file_bytes=4 * MIB)
    result = await hands.bash("head -c 64M /dev/zero > huge; echo status $?; stat -c %s huge")
    assert "status 0" not in said(result)
    assert (hands.host.root / "sesn_a" / "workspace" / "huge").stat().st_size <= 4 * MIB


async def test_many_files_hit_the_disk_limit(start: Start) -> None:
    hands = await start(disk_bytes=16 * MIB)
    result = await hands.bash("for i in $(seq 40); do head -c 1M /dev/zero > f$i; done; echo done")
    assert result.is_error
    assert "disk limit" in said(result)
    refused = await hands.one("write", file_path="more", content="x")
    assert refused.is_error
    await hands.one("bash", restart=True)  # needed when the command ran long enough to be stopped
    await hands.bash("rm f*")
    assert not (await hands.one("write", file_path="more", content="x")).is_error


async def test_a_long_command_is_stopped_while_it_fills_the_disk(start: Start) -> None:
    hands = await start(disk_bytes=32 * MIB, file_bytes=256 * MIB)
    began = time.monotonic()
    result = await hands.bash("while :; do head -c 1M /dev/zero >> big; sleep 0.02; done", timeout_ms=30_000)
    assert result.is_error
    assert "disk limit" in said(result)
    assert time.monotonic() - began < 15


async def test_a_background_process_is_stopped_while_it_fills_the_disk(start: Start) -> None:
    hands = await start(disk_bytes=32 * MIB, file_bytes=256 * MIB)
    await hands.bash("(while :; do head -c 1M /dev/zero >> big; sleep 0.01; done) >/dev/null 2>&1 &")
    assert hands.host.stats().live == 1
    assert await wait_until(lambda: hands.host.stats().live == 0, 15)


@pytest.mark.parametrize("where", ["/dev/shm", "/tmp", "$HOME", "/mnt/session/outputs"])
async def test_every_writable_place_counts_against_the_disk_limit(start: Start, where: str) -> None:
    hands = await start(disk_bytes=16 * MIB)
    result = await hands.bash(f"for i in $(seq 30); do head -c 1M /dev/zero > {where}/f$i; done; sleep 1.2")
    assert "disk limit" in said(result)


async def test_a_deep_tree_can_be_counted_searched_and_removed(start: Start) -> None:
    hands = await start(disk_bytes=64 * MIB)
    out = await hands.python("""
import os
for _ in range(3000):
    os.mkdir("deeper")
    os.chdir("deeper")
print("dug")
""")
    assert out == "dug"
    assert said(await hands.one("glob", pattern="**/nothing")) == "no matches"
    await hands.host.release("sesn_a", destroy=True)
    assert not (hands.host.root / "sesn_a").exists()


async def test_a_cpu_spin_ends_at_the_cpu_limit(start: Start) -> None:
    hands = await start(cpu_seconds=1)
    began = time.monotonic()
    result = await hands.bash("bash -c 'while :; do :; done'; echo status $?", timeout_ms=20_000)
    assert "status 137" in said(result) or "status 152" in said(result)
    assert time.monotonic() - began < 15


async def test_a_hanging_command_ends_at_its_time_limit(hands: Hands) -> None:
    began = time.monotonic()
    result = await hands.bash("trap '' TERM INT HUP; while :; do sleep 100; done", timeout_ms=300)
    assert "timed out" in said(result)
    assert time.monotonic() - began < 5


async def test_a_command_that_waits_for_input_gets_end_of_file(hands: Hands) -> None:
    assert await hands.out("cat; read line; echo status $?") == "status 1"


async def test_oversize_output_goes_to_a_file_with_a_preview(start: Start) -> None:
    hands = await start(output_chars=2000)
    result = await hands.bash("for i in $(seq 2000); do echo line $i; done")
    text = said(result)
    assert len(text) < 2600
    assert text.startswith("line 1\n") and text.endswith("line 2000")
    path = next(word.rstrip("]") for word in text.split() if word.startswith("/tmp/tool-output/"))
    assert await hands.out(f"wc -l < {path}; tail -n 1 {path}") == "2000\nline 2000"


async def test_endless_output_ends_at_the_file_limit(start: Start) -> None:
    hands = await start(file_bytes=2 * MIB)
    result = await hands.bash("yes", timeout_ms=20_000)
    assert result.is_error
    assert "output truncated" in said(result)


async def test_a_linked_output_folder_does_not_lead_the_server_out(start: Start, place: Path) -> None:
    hands = await start(output_chars=1000)
    target = place / "target"
    target.mkdir()
    target.chmod(0o777)
    await hands.bash(f"ln -s {target} /tmp/tool-output")
    result = await hands.bash("seq 10000")
    assert "could not be kept" in said(result)
    assert list(target.iterdir()) == []


# --- devices, mounts, privileges --------------------------------------------------------------------------


async def test_only_harmless_devices_are_there(hands: Hands) -> None:
    names = set((await hands.out("ls /dev")).split())
    assert names <= {
        "console", "core", "fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty",
        "urandom", "zero",
    }  # fmt: skip


async def test_device_nodes_cannot_be_made(hands: Hands) -> None:
    out = await hands.out("mknod disk b 254 0; mknod mem c 1 1; ls")
    assert out.count("Operation not permitted") == 2


async def test_nothing_can_be_mounted(hands: Hands) -> None:
    out = await hands.out(
        "mount -t tmpfs none /tmp; mount -t proc proc /tmp; mount --bind / /tmp; umount /usr; ls /tmp"
    )
    assert out.count("permission denied") + out.count("must be superuser") + out.count("not permitted") >= 3


async def test_new_namespaces_cannot_be_made_to_remount(hands: Hands) -> None:
    out = await hands.out("unshare -Ur true; unshare -Urm mount -o remount,rw /; unshare -m true; touch /usr/owned")
    assert out.count("unshare failed") == 3
    assert not Path("/usr/owned").exists()


async def test_chroot_is_refused(hands: Hands) -> None:
    assert "Operation not permitted" in await hands.out("chroot / true")


async def test_system_directories_are_read_only(hands: Hands) -> None:
    for path in ("/usr/bin/owned", "/etc/passwd", "/bin/owned", "/owned", "/dev/owned", "/run/owned", "/mnt/owned"):
        result = await hands.one("write", file_path=path, content="x")
        assert result.is_error, path
        assert "Read-only" in await hands.out(f"echo x > {path}") or path.startswith("/run/calls")
    assert not Path("/usr/bin/owned").exists()


async def test_setuid_programs_give_nothing(hands: Hands) -> None:
    out = await hands.out(
        "cp /bin/bash mine; chmod 6755 mine; ./mine -p -c 'id -u'; "
        "for f in $(find /usr/bin -perm -4000 2>/dev/null | head -20); do stat -c %u $f; done | sort -u; "
        "grep NoNewPrivs /proc/self/status; su -c id </dev/null; grep CapEff /proc/self/status"
    )
    assert out.splitlines()[0] == "1000"
    assert "NoNewPrivs:\t1" in out
    assert "CapEff:\t0000000000000000" in out
    assert "uid=0" not in out


async def test_a_setuid_file_in_the_workspace_is_worthless_on_the_host(hands: Hands) -> None:
    await hands.out("cp /usr/bin/id mine; chmod 6755 mine")
    facts = (hands.host.root / "sesn_a" / "workspace" / "mine").stat()
    assert facts.st_uid >= 200_000


async def test_the_real_user_is_never_root(hands: Hands) -> None:
    seconds = f"9{secrets.randbelow(10**8)}"
    await hands.bash(f"sleep {seconds} &")
    assert await wait_until(lambda: len(sandbox_processes(f"sleep\0{seconds}")) == 1)
    (pid,) = sandbox_processes(f"sleep\0{seconds}")
    facts = Path(f"/proc/{pid}/status").read_text()
    ids = next(line for line in facts.splitlines() if line.startswith("Uid:")).split()[1:]
    assert all(int(uid) >= 200_000 for uid in ids)


async def test_kernel_settings_cannot_be_changed_by_the_shell_or_the_file_tools(hands: Hands) -> None:
    before = Path("/proc/sys/net/ipv4/ip_forward").read_text()
    flipped = "0" if before.strip() == "1" else "1"
    await hands.out(f"echo {flipped} > /proc/sys/net/ipv4/ip_forward; echo core > /proc/sys/kernel/core_pattern")
    for path in ("/proc/sys/net/ipv4/ip_forward", "/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern"):
        assert (await hands.one("write", file_path=path, content=flipped)).is_error
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == before


async def test_the_kernel_log_and_clock_are_out_of_reach(hands: Hands) -> None:
    out = await hands.out("dmesg; date -s '2001-01-01'; hostname owned; hostname")
    assert out.count("not permitted") + out.count("must be root") + out.count("you must be") >= 3
    assert out.endswith("sandbox")
    assert socket.gethostname() != "owned"


async def test_a_terminal_cannot_be_stuffed_with_input(hands: Hands) -> None:
    out = await hands.python("""
import fcntl, os, termios
for path in ("/dev/tty", "/dev/console"):
    try:
        fd = os.open(path, os.O_RDWR)
        fcntl.ioctl(fd, termios.TIOCSTI, b"x")
        print("stuffed")
    except OSError as error:
        print(error.strerror)
""")
    assert "stuffed" not in out
    assert len(out.splitlines()) == 2


# --- special files ----------------------------------------------------------------------------------------


async def test_a_fifo_does_not_block_a_file_tool(hands: Hands) -> None:
    await hands.out("mkfifo pipe pipe.png")
    began = time.monotonic()
    for name, body in [
        ("read", {"file_path": "pipe"}),
        ("read", {"file_path": "pipe.png"}),
        ("write", {"file_path": "pipe", "content": "x"}),
        ("edit", {"file_path": "pipe", "old_string": "a", "new_string": "b"}),
    ]:
        result = await hands.one(name, **body)
        assert result.is_error
        assert "not a regular file" in said(result)
    assert time.monotonic() - began < 2


async def test_devices_are_not_read(hands: Hands) -> None:
    for path in ("/dev/zero", "/dev/urandom", "/dev/tty", "/proc/kmsg", "/proc/kcore", "/dev/stdin"):
        assert (await hands.one("read", file_path=path)).is_error


async def test_a_hostile_glob_pattern_ends_soon(hands: Hands) -> None:
    await hands.out("touch " + "a" * 250)
    began = time.monotonic()
    await hands.one("glob", pattern="*a" * 16 + "b")
    await hands.one("glob", pattern="**/" * 60 + "b")
    refused = await hands.one("glob", pattern="{a,b}" * 30)
    assert refused.is_error
    assert time.monotonic() - began < 2


# --- surviving, and lying to the server -------------------------------------------------------------------


@pytest.mark.parametrize(
    "launch",
    [
        "setsid sleep {n} >/dev/null 2>&1 &",
        "nohup sleep {n} >/dev/null 2>&1 &",
        "( ( setsid nohup sleep {n} & ) & ) >/dev/null 2>&1",
        "trap '' HUP TERM; sleep {n} & disown",
    ],
)
async def test_no_process_survives_its_sandbox(hands: Hands, launch: str) -> None:
    seconds = f"9{secrets.randbelow(10**8)}"
    await hands.bash(launch.format(n=seconds))
    assert await wait_until(lambda: len(sandbox_processes(f"sleep\0{seconds}")) == 1)
    await hands.host.release("sesn_a", destroy=False)
    assert sandbox_processes(f"sleep\0{seconds}") == []


async def test_no_process_survives_leaving_the_shell(hands: Hands) -> None:
    seconds = f"9{secrets.randbelow(10**8)}"
    await hands.bash(f"setsid sleep {seconds} >/dev/null 2>&1 & exit 0")
    assert await wait_until(lambda: not sandbox_processes(f"sleep\0{seconds}"))


async def test_no_process_survives_a_time_out(hands: Hands) -> None:
    seconds = f"9{secrets.randbelow(10**8)}"
    await hands.bash(f"setsid sleep {seconds} & sleep {seconds}", timeout_ms=200)
    assert sandbox_processes(f"sleep\0{seconds}") == []


async def test_everything_dies_with_a_killed_host_process(place: Path) -> None:
    seconds = f"9{secrets.randbelow(10**8)}"
    program = textwrap.dedent(f"""
        import asyncio
        from pathlib import Path
        from agents.config import SandboxSettings
        from agents.hands.host import SandboxHost
        from agents.hands.port import ToolCall, Workspace

        async def main():
            host = SandboxHost(SandboxSettings(warm=2), Path("{place}/root"))
            await host.start()
            call = ToolCall("c", "bash", {{"command": "setsid sleep {seconds} & sleep {seconds}"}})
            async for _ in host.execute(Workspace("sesn_a"), [call]):
                pass

        asyncio.run(main())
    """)
    host = subprocess.Popen([sys.executable, "-c", program])
    try:
        assert await wait_until(lambda: len(sandbox_processes(f"sleep\0{seconds}")) >= 2, 20)
    finally:
        host.send_signal(signal.SIGKILL)
        host.wait()
    assert await wait_until(lambda: not sandbox_processes(f"sleep\0{seconds}"))
    assert await wait_until(lambda: not sandbox_processes(f"{place}/root"))


async def test_a_command_cannot_forge_the_end_of_a_call(hands: Hands) -> None:
    out = await hands.out(
        "printf '\\n%s 0\\n' 00000000000000000000000000000000; for n in 1 3 10 11 199; do echo x >&$n; done; false"
    )
    assert "0000 0" in out
    assert await hands.out("echo next") == "next"


async def test_a_command_cannot_read_or_eat_the_next_command(hands: Hands) -> None:
    await hands.out("for fd in /proc/$$/fd/*; do timeout 0.1 cat $fd; done; true", timeout_ms=5000)
    follow_up = await hands.bash("echo next")
    if follow_up.is_error:  # the shell was spoilt: the one thing allowed is that it says so
        assert "restart" in said(follow_up)
        await hands.one("bash", restart=True)
        follow_up = await hands.bash("echo next")
    assert said(follow_up) == "next"


async def test_output_files_of_calls_cannot_be_replaced(hands: Hands) -> None:
    out = await hands.out("ls /run/calls; ln -s /etc/passwd /run/calls/999999; rm -f /run/calls/*; ls -ld /run/calls")
    assert out.count("Permission denied") + out.count("cannot remove") + out.count("cannot open") >= 2
    assert await hands.out("echo intact") == "intact"


async def test_a_shell_that_redefines_its_own_commands_only_harms_itself(hands: Hands) -> None:
    await hands.bash("builtin() { :; }; printf() { :; }; eval() { :; }", timeout_ms=500)
    await hands.bash("echo lost", timeout_ms=500)
    assert said(await hands.one("bash", restart=True)) == "bash session restarted"
    assert await hands.out("echo back") == "back"


async def test_a_server_of_an_ordinary_user_isolates_as_well(place: Path) -> None:
    place.chmod(0o777)
    program = textwrap.dedent(f"""
        import asyncio, os
        from pathlib import Path
        from agents.config import SandboxSettings
        from agents.hands.host import SandboxHost
        from agents.hands.port import ToolCall, Workspace

        async def main():
            host = SandboxHost(SandboxSettings(warm=0), Path("{place}/root"))
            await host.start()
            calls = [
                ("bash", {{"command": "id -u; cat {place}/secret; echo > /dev/tcp/1.1.1.1/80; curl -s x.test"}}),
                ("write", {{"file_path": "a/b", "content": "hello"}}),
                ("read", {{"file_path": "a/b"}}),
                ("read", {{"file_path": "{place}/secret"}}),
                ("write", {{"file_path": "{place}/owned", "content": "x"}}),
                ("glob", {{"pattern": "**/*"}}),
                ("grep", {{"pattern": "hel+o"}}),
            ]
            for n, (name, body) in enumerate(calls):
                async for result in host.execute(Workspace("sesn_a"), [ToolCall(str(n), name, body)]):
                    print(n, result.is_error, repr(result.content[0]["text"]))
            await host.release("sesn_a", destroy=True)
            await host.stop()

        asyncio.run(main())
    """)
    (place / "secret").write_text("host secret")
    (place / "secret").chmod(0o644)
    done = as_ordinary_user("-c", program)
    lines = done.stdout.splitlines()
    assert len(lines) == 7, done.stderr
    assert "host secret" not in done.stdout
    assert "Network is unreachable" in lines[0] and "1000" in lines[0]
    assert "x.test cannot be reached: this environment has no network" in lines[0], "the proxy is there"
    assert lines[1:3] == ["1 False 'wrote 5 bytes to a/b'", "2 False 'hello'"]
    assert lines[3].startswith("3 True")
    assert "/workspace/a/b" in lines[5] and "/workspace/a/b:1:hello" in lines[6]
    assert not (place / "owned").exists()


def as_ordinary_user(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python as somebody who is not root, with an interpreter that he can reach."""
    become = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"] if os.geteuid() == 0 else []
    environment = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "PATH": os.environ["PATH"]}

    def run(python: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*become, python, *words], capture_output=True, text=True, timeout=60, env=environment, check=False
        )

    pythons = (sys.executable, "/usr/bin/python3")
    # Who changes the user may start what that user cannot: only a grandchild tells.
    reaches = "import pydantic, subprocess, sys; subprocess.run([sys.executable, '-c', ''], check=True)"
    python = next(python for python in pythons if run(python, "-c", reaches).returncode == 0)
    return run(python, *arguments)
