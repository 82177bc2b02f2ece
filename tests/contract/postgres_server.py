"""A PostgreSQL server of the test run's own, in a temporary directory, reached through a unix socket.

It needs the server programs on this machine and no rights on any server that already runs. Root may
not run PostgreSQL, so as root it runs as the user ``postgres`` that the package made.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from sqlalchemy.engine import make_url

MISSING = (
    "these tests need a PostgreSQL server: install it (Debian and Ubuntu: apt-get install postgresql) "
    "so that initdb and pg_ctl lie in /usr/lib/postgresql/*/bin or on PATH"
)
# Only crash-safety of the server itself is given up, and the care for tables that live long: what these tests prove
# about PostgreSQL does not rest on it.
FAST = "-c fsync=off -c full_page_writes=off -c autovacuum=off -c shared_buffers=16MB -c max_connections=60"

_ROOM_BYTES = 2 * 1024**3
"""What a server may need: half of it for its write-ahead log, the rest for a few databases at a time."""


class PostgresServer:
    """One server; with *primary*, a standby of that one."""

    def __init__(self, options: str = FAST, *, primary: PostgresServer | None = None) -> None:
        """*options* other than FAST are for who needs the disk: only a FAST server may lie in memory."""
        self._options = options
        self._bin = programs()
        self._user = "postgres" if os.geteuid() == 0 else None
        self.home = Path(tempfile.mkdtemp(prefix="hecaton-pg-", dir=_in_memory() if options == FAST else None))
        if self._user:
            shutil.chown(self.home, self._user, self._user)
        self._data = self.home / "data"
        self._names = itertools.count()
        if primary is None:
            self._run("initdb", "-D", self._data, "-U", "postgres", "--auth=trust", "-E", "UTF8", "--no-sync")
        else:
            source = ("-h", primary.home, "-U", "postgres", "-X", "stream", "-c", "fast", "--no-sync")
            self._run("pg_basebackup", *source, "-D", self._data, "--write-recovery-conf")

    def start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories={self.home} {self._options}"
        self._run("pg_ctl", "-D", self._data, "-o", options, "-l", self.home / "log", "-w", "-t", "30", "start")

    def ensure(self) -> None:
        """Start unless it runs."""
        if not self._running():
            self.start()

    def stop(self) -> None:
        """Stop as a crash would: connections are cut."""
        self._run("pg_ctl", "-D", self._data, "-m", "immediate", "-w", "-t", "30", "stop")

    def kill(self) -> None:
        """SIGKILL the postmaster; its processes then end by themselves."""
        postmaster = self._postmaster()
        family = [postmaster, *postmaster.children(recursive=True)]
        postmaster.kill()
        ends = time.monotonic() + 30
        while not all(map(_ended, family)):
            assert time.monotonic() < ends, "the processes of a killed server do not end"
            time.sleep(0.01)
        # They name a process that stays a zombie where nobody reaps, and would then keep the next server away.
        for lock in (self._data / "postmaster.pid", self.home / ".s.PGSQL.5432.lock"):
            lock.unlink()

    def promote(self) -> None:
        """Make a standby the primary."""
        self._run("pg_ctl", "-D", self._data, "-w", "-t", "30", "promote")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop every process of the server for a while (SIGSTOP)."""
        postmaster = self._postmaster()
        stopped = [postmaster, *postmaster.children(recursive=True)]
        try:
            _signal(stopped, signal.SIGSTOP)
            yield
        finally:
            _signal(stopped, signal.SIGCONT)

    def remove(self) -> None:
        if self._running():
            self.stop()
        shutil.rmtree(self.home)

    def new_database(self, like: str | None = None) -> str:
        """Create an empty database, or one *like* another (a URL) that nobody is connected to; returns its URL."""
        name = f"test_{next(self._names)}"
        template = ("--template", make_url(like).database or "") if like else ()
        self._run("createdb", "-h", self.home, "-U", "postgres", *template, name)
        return self.url(name)

    @contextmanager
    def database(self, like: str | None = None) -> Iterator[str]:
        """A new database that is dropped again, whatever state the server was left in."""
        url = self.new_database(like)
        try:
            yield url
        finally:
            self.ensure()
            self.tell(f"DROP DATABASE {make_url(url).database} WITH (FORCE)")

    def url(self, name: str, *others: PostgresServer) -> str:
        """The URL of a database here, or on whichever of this and *others* is the primary."""
        if not others:
            return f"postgresql+asyncpg://postgres@/{name}?host={self.home}"
        hosts = "&".join(f"host={server.home}:5432" for server in (self, *others))
        return f"postgresql+asyncpg://postgres@/{name}?{hosts}"

    def tell(self, command: str, url: str = "") -> None:
        """Run an SQL command as the administrator, in the database at *url* if there is one."""
        name = make_url(url).database if url else None
        self._run("psql", "-h", self.home, "-U", "postgres", "-q", "-c", command, name or "postgres")

    def _postmaster(self) -> psutil.Process:
        return psutil.Process(int((self._data / "postmaster.pid").read_text().split("\n")[0]))

    def _running(self) -> bool:
        try:
            return not _ended(self._postmaster())
        except (FileNotFoundError, psutil.NoSuchProcess):
            return False

    def _run(self, program: str, *arguments: str | Path) -> None:
        command = [str(self._bin / program), *map(str, arguments)]
        # Output goes to a file: a server that pg_ctl leaves behind would hold a pipe open.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                user=self._user,
                group=self._user,
                extra_groups=[] if self._user else None,
                cwd=self.home,
                env={**os.environ, "PGOPTIONS": "-c default_transaction_read_only=off"},
                timeout=60,
            )
            output.seek(0)
            text = output.read().decode(errors="replace")
        assert done.returncode == 0, f"{program} failed: {text}"


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    """Send all of them the signal: one that has just ended keeps it from no other."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _in_memory() -> Path | None:
    """A directory in memory, where there is room: a new database, some 300 files, takes a tenth of the time there."""
    place = Path("/dev/shm")
    roomy = place.is_dir() and os.access(place, os.W_OK) and psutil.disk_usage(str(place)).free > _ROOM_BYTES
    return place if roomy else None


def programs() -> Path:
    """Return the folder of the newest server's programs. Raises AssertionError where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    program = found[-1] if found else shutil.which("initdb")
    assert program is not None, MISSING
    return Path(program).resolve().parent
