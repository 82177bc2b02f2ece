"""SQLite on a disk that is full, for real: a file system of a few megabytes, in namespaces of its own.

Bug class this catches: a half-written commit, a corrupt log, a server that has to be restarted once there is space.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

WRITER = Path(__file__).with_name("disk_full_writer.py")
MEGABYTE = 2**20


def test_appends_fail_cleanly_on_a_full_disk_and_go_on_when_there_is_space(tmp_path: Path) -> None:
    # As sandboxes are made (bubblewrap, no rights needed); only this process sees the small disk.
    disk = ["bwrap", "--dev-bind", "/", "/", "--size", str(4 * MEGABYTE), "--tmpfs", str(tmp_path)]
    command = [*disk, sys.executable, str(WRITER), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=WRITER.parent, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)

    for refused in told["full"]:
        assert refused["error"] == "Unavailable"
        assert refused["status"] == 503
        assert refused["retry_after"] > 0
        assert "disk takes no more" in refused["message"]
    assert told["reads"]["error"] is None
    assert [outcome["error"] for outcome in told["after"]] == [None, None, None]
    assert told["lengths"] == [1, 2, 2]
    assert told["checks"] == ["ok", "ok"]
