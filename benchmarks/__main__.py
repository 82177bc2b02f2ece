"""``make bench``: sandboxes, the log, contexts, event streams, then the whole platform.

Options are those of ``benchmarks.turns``. They run one after the other, each in a process of its own, so
that none disturbs another. The exit status is that of the first that failed (of the platform's turns only
faults count, not figures).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile

from benchmarks.deployment import ROOT
from benchmarks.samples import RESULTS


def main() -> int:
    options = sys.argv[1:]
    RESULTS.mkdir(parents=True, exist_ok=True)
    commands = [["benchmarks.turns", *options]]
    if "-h" not in options and "--help" not in options:
        rounds = "5" if "--quick" in options else "20"
        sandbox = ["benchmarks.bench_sandbox", "--rounds", rounds, "--json", str(RESULTS / "sandbox.json")]
        log = ["benchmarks.bench_log", tempfile.gettempdir(), "--json", str(RESULTS / "log.json")]
        context = ["benchmarks.bench_context", "--rounds", rounds, "--json", str(RESULTS / "context.json")]
        streams = [
            "benchmarks.bench_streams",
            *(["--streams", "200", "--sessions", "20"] if "--quick" in options else []),
        ]
        commands = [sandbox, *([] if "--quick" in options else [log]), context, streams, *commands]
    status = 0
    for command in commands:
        done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=False)
        status = status or done.returncode
    return status


if __name__ == "__main__":
    sys.exit(main())
