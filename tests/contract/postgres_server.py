"""A PostgreSQL server of the test run's own, in a temporary directory, reached through a unix socket.

It needs the server programs on this machine and no rights on any server that already runs. Root may
not run PostgreSQL, so as root it runs as the user ``postgres`` that the package made.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

MISSING = (
    "these tests need a PostgreSQL server: install it (Debian and Ubuntu: apt-get install postgresql) "
    "so that initdb and pg_ctl lie in /usr/lib/postgresql/*/bin or on PATH"
)
# Only crash-safety of the server itself is given up: what these tests prove about PostgreSQL does not rest on it.
FAST = "-c fsync=off -c full_page_writes=off -c shared_buffers=16MB -c max_connections=60"


class PostgresServer:
    def __init__(self, options: str = FAST) -> None:
        self._options = options
        self._bin = _programs()
        self._user = "postgres" if os.geteuid() == 0 else None
        self._home = Path(tempfile.mkdtemp(prefix="hecaton-pg-"))
        if self._user:
            shutil.chown(self._home, self._user, self._user)
        self._data = self._home / "data"
        self._names = itertools.count()
        self._run("initdb", "-D", self._data, "-U", "postgres", "--auth=trust", "-E", "UTF8", "--no-sync")

    def start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories={self._home} {self._options}"
        self._run("pg_ctl", "-D", self._data, "-o", options, "-l", self._home / "log", "-w", "-t", "30", "start")

    def stop(self) -> None:
        """Stop as a crash would: connections are cut."""
        self._run("pg_ctl", "-D", self._data, "-m", "immediate", "-w", "-t", "30", "stop")

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._home)

    def new_database(self) -> str:
        """Create an empty database and return its URL."""
        name = f"test_{next(self._names)}"
        self._run("createdb", "-h", self._home, "-U", "postgres", name)
        return self.url(name)

    def url(self, name: str) -> str:
        return f"postgresql+asyncpg://postgres@/{name}?host={self._home}"

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
                cwd=self._home,
                timeout=60,
            )
            output.seek(0)
            text = output.read().decode(errors="replace")
        assert done.returncode == 0, f"{program} failed: {text}"


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    program = found[-1] if found else shutil.which("initdb")
    assert program is not None, MISSING
    return Path(program).resolve().parent
