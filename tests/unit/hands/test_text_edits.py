"""The text rules of read and edit."""

from __future__ import annotations

import pytest

from agents.hands.text_edits import LineWindow, decode_text, media_limit, media_type, replace_text
from agents.hands.tool_failure import ToolFailure

TEXT = b"one\ntwo\r\nthree\n\nfive"


@pytest.mark.parametrize("piece", [1, 3, 100])
@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (1, 1, "one"),
        (2, 2, "two\r"),
        (1, 2, "one\ntwo\r"),
        (3, 5, "three\n\nfive"),
        (4, 4, ""),
        (5, 99, "five"),
        (0, 1, "one"),
        (2, 1, ""),
        (6, 0, ""),
        (3, -1, "three\n\nfive"),
    ],
)
def test_a_window_is_the_same_however_the_file_comes_in_pieces(
    piece: int, first: int, last: int, expected: str
) -> None:
    window = LineWindow("f", first, last)
    for start in range(0, len(TEXT), piece):
        window.feed(TEXT[start : start + piece])
    assert window.text() == expected


def test_a_window_is_full_once_its_last_line_is_seen() -> None:
    window = LineWindow("f", 1, 2)
    window.feed(b"one\n")
    assert not window.full
    window.feed(b"two\nthree")
    assert window.full


def test_a_window_over_the_limit_is_refused() -> None:
    window = LineWindow("f", 1, 0, limit=10)
    with pytest.raises(ToolFailure, match="10-byte limit"):
        window.feed(b"x" * 11)


def test_text_that_is_no_utf8_is_refused_with_what_to_do() -> None:
    with pytest.raises(ToolFailure, match="not valid UTF-8"):
        decode_text("read", "f", b"\xff\xfe")
    with pytest.raises(ToolFailure, match="cannot edit binary files"):
        decode_text("edit", "f", b"\xff\xfe")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("a.PNG", "image/png"),
        ("a.b.jpeg", "image/jpeg"),
        ("x.webp", "image/webp"),
        ("x.gif", "image/gif"),
        ("p.pdf", "application/pdf"),
        ("x.svg", None),
        (".png", None),
        ("png", None),
    ],
)
def test_the_extension_decides_what_is_shown_as_a_block(path: str, kind: str | None) -> None:
    assert media_type(path) == kind


def test_the_image_limit_is_on_the_encoded_form() -> None:
    assert media_limit("image/png") * 4 // 3 == 5 * 1024 * 1024
    assert media_limit("application/pdf") == 20 * 1024 * 1024


def test_replacing_text_counts_and_refuses_what_is_not_clear() -> None:
    assert replace_text("f", "abcabc", "bc", "X", every=True) == ("aXaX", 2)
    assert replace_text("f", "abc", "abc", "", every=False) == ("", 1)
    with pytest.raises(ToolFailure, match="2 times"):
        replace_text("f", "abcabc", "bc", "X", every=False)
    with pytest.raises(ToolFailure, match="not found"):
        replace_text("f", "abc", "z", "X", every=True)
