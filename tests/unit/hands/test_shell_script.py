"""What is spoken to bash, checked against a real bash."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from agents.config import SandboxSettings
from agents.hands import shell_script


def bash(script: str, cwd: Path) -> str:
    done = subprocess.run(["bash", "--noprofile", "--norc"], input=script, capture_output=True, text=True, cwd=cwd)
    return done.stdout


@pytest.mark.parametrize(
    "value",
    [
        "plain",
        "with space",
        "two\nlines",
        "quote\"d 'both'",
        "$HOME `id` \\ end",
        "tab\tbell\a",
        'declare -x FAKE="1"',
        "ümläut ☃",
        "",
    ],
)
def test_any_exported_value_survives_the_way_to_the_server_and_back(value: str, tmp_path: Path) -> None:
    quoted = value.replace("'", "'\\''")
    script = shell_script.dump_line(f"{tmp_path}/before", "n1")
    script += f"export VALUE='{quoted}' OTHER=1; cd /\n"
    script += shell_script.dump_line(f"{tmp_path}/after", "n2")
    bash(script, tmp_path)
    before = shell_script.parse_state((tmp_path / "before").read_bytes())
    after = shell_script.parse_state((tmp_path / "after").read_bytes())
    assert before is not None and after is not None
    assert "FAKE" not in after.exports
    line = shell_script.merge_line(before, [after], "nonce")
    assert line is not None
    said = bash(line + 'builtin printf \'%s|%s|%s\' "$VALUE" "$OTHER" "$PWD"\n', tmp_path)
    assert said == f"\nnonce 0\n{value}|1|/"


def test_nothing_changed_needs_no_line() -> None:
    state = shell_script.ShellState("/workspace", {"A": 'declare -x A="1"'})
    assert shell_script.merge_line(state, [state, state], "nonce") is None


def test_the_shells_own_variables_are_not_merged() -> None:
    base = shell_script.ShellState("/a", {"OLDPWD": "declare -x OLDPWD"})
    after = shell_script.ShellState("/a", {"OLDPWD": 'declare -x OLDPWD="/x"', "SHLVL": 'declare -x SHLVL="2"'})
    assert shell_script.merge_line(base, [after], "nonce") is None


def test_an_incomplete_dump_is_no_state() -> None:
    assert shell_script.parse_state(b"") is None
    assert shell_script.parse_state(b"/workspace") is None


def test_a_command_cannot_leave_its_quotes(tmp_path: Path) -> None:
    line = shell_script.foreground_line("echo 'a'; echo \"b\" '", f"{tmp_path}/out", "nonce")
    said = bash(line + "echo after\n", tmp_path)
    assert said.endswith("after\n")
    assert "\nnonce " in said


def test_limits_are_set_hard_and_never_above_the_servers_own(tmp_path: Path) -> None:
    settings = SandboxSettings(cpu_seconds=7, processes=99, file_bytes=2**20, memory_bytes=2**26)
    said = bash(shell_script.boot_line(settings, "nonce") + "ulimit -H -t -u -f -d -c\n", tmp_path)
    assert "nonce 0" in said
    values = [line.split()[-1] for line in said.splitlines() if "(" in line]
    assert sorted(values) == sorted(["7", "99", "1024", "65536", "0"])


def test_grep_arguments_are_quoted() -> None:
    command = shell_script.search_command("a'b; rm -rf /", "/workspace/x y")
    assert command.endswith("""-e 'a'"'"'b; rm -rf /' -- '/workspace/x y'""")
