"""Cleaning and bounding of output."""

from __future__ import annotations

from pathlib import Path

from agents.hands.sandbox_dirs import SandboxDirs
from agents.hands.tool_output import NO_OUTPUT, CallFile, OutputLimit, clean, text_block


def dirs_in(tmp_path: Path) -> SandboxDirs:
    for name in ("tmp", "calls"):
        (tmp_path / name).mkdir()
    return SandboxDirs(tmp_path, None, tmp_path)


def test_terminal_escapes_are_dropped() -> None:
    assert clean(b"\x1b[1;31mred\x1b[0m \x1b]0;title\x07text\x1b[2K\x1b[?25h") == "red text"


def test_bytes_that_are_no_text_do_not_break_the_result() -> None:
    assert clean(b"a\xffb\0c\n\n") == "a\ufffdb\ufffdc"


def test_empty_text_becomes_the_placeholder() -> None:
    assert text_block("") == [{"type": "text", "text": NO_OUTPUT}]


def test_output_at_the_limit_is_whole_and_one_more_is_a_preview(tmp_path: Path) -> None:
    limit = OutputLimit(1000, dirs_in(tmp_path), "/tmp")
    assert limit.of_text("x" * 1000, "call_1") == "x" * 1000
    preview = limit.of_text("a" + "x" * 999 + "z", "call_2")
    assert preview.startswith("a") and preview.endswith("z")
    assert "/tmp/tool-output/call_2.txt" in preview
    assert (tmp_path / "tmp" / "tool-output" / "call_2.txt").read_text() == "a" + "x" * 999 + "z"


def test_the_limit_counts_characters_and_not_bytes(tmp_path: Path) -> None:
    limit = OutputLimit(1000, dirs_in(tmp_path), "/tmp")
    assert limit.of_text("ü" * 1000, "call") == "ü" * 1000


def test_a_call_id_cannot_name_another_place(tmp_path: Path) -> None:
    limit = OutputLimit(1000, dirs_in(tmp_path), "/tmp")
    preview = limit.of_text("x" * 2000, "../../../etc/passwd")
    assert "/tmp/tool-output/.._.._.._etc_passwd.txt" in preview
    assert list(tmp_path.glob("tmp/tool-output/*"))


def test_a_call_file_is_gone_after_its_call(tmp_path: Path) -> None:
    file = CallFile.create(dirs_in(tmp_path), "/run/calls", "7")
    assert file.shell_path == "/run/calls/7"
    file.host_path.write_text("output")
    assert file.read() == b"output"
    file.close()
    assert not file.host_path.exists()


def test_what_a_killed_host_left_of_a_call_is_in_nobodys_way(tmp_path: Path) -> None:
    dirs = dirs_in(tmp_path)
    (tmp_path / "calls" / "1").write_text("of another process")
    made = CallFile.create(dirs, "/calls", "1")
    assert made.host_path.read_text() == ""
    made.close()
