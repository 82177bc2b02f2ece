"""What an upload says of itself, and where a file is mounted (spec A.7, A.10)."""

from __future__ import annotations

import pytest

from agents.errors import InvalidRequest
from agents.files.mounting import mount_path
from agents.files.service import NewFile


@pytest.mark.parametrize(
    ("filename", "mime_type", "kept"),
    [
        ("a.txt", "text/plain", ("a.txt", "text/plain")),
        ("a.txt", "Text/Plain; charset=utf-8", ("a.txt", "text/plain")),
        ("a.csv", None, ("a.csv", "text/csv")),
        ("a.png", "application/octet-stream", ("a.png", "image/png")),
        ("nothing known", None, ("nothing known", "application/octet-stream")),
        ("../../etc/passwd", "text/plain", ("passwd", "text/plain")),
        ("C:\\docs\\plan.pdf", "application/pdf", ("plan.pdf", "application/pdf")),
        (None, "application/pdf", ("unnamed.pdf", "application/pdf")),
        ("", None, ("unnamed.bin", "application/octet-stream")),
        ("folder/", "text/plain", ("unnamed.txt", "text/plain")),
        ("..", "text/plain", ("unnamed.txt", "text/plain")),
        ("a/.", "text/plain", ("unnamed.txt", "text/plain")),
    ],
)
def test_names_and_types_are_completed(filename: str | None, mime_type: str | None, kept: tuple[str, str]) -> None:
    new = NewFile.checked(filename, mime_type, None)
    assert (new.filename, new.mime_type) == kept


@pytest.mark.parametrize(
    ("filename", "mime_type", "expires_in"),
    [
        ("a\nb", "text/plain", None),
        ("x" * 501, "text/plain", None),
        ("a", "nonsense", None),
        ("a", "text/" + "x" * 300, None),
        ("a", "text/plain", 3599),
        ("a", "text/plain", 7_776_001),
    ],
)
def test_what_breaks_a_limit_is_refused(filename: str, mime_type: str, expires_in: int | None) -> None:
    with pytest.raises(InvalidRequest):
        NewFile.checked(filename, mime_type, expires_in)


def test_limits_themselves_are_fine() -> None:
    assert NewFile.checked("x" * 500, "text/plain", 3600).expires_in == 3600
    assert NewFile.checked("a", "text/plain", 7_776_000).expires_in == 7_776_000


@pytest.mark.parametrize(
    ("given", "path"),
    [
        (None, "/mnt/session/uploads/file_1"),
        ("/x", "/mnt/session/uploads/x"),
        ("x", "/mnt/session/uploads/x"),
        ("/a//b/c.csv", "/mnt/session/uploads/a/b/c.csv"),
        ("/mnt/session/uploads/a", "/mnt/session/uploads/a"),
        ("/mnt/session/uploadsX/a", "/mnt/session/uploads/mnt/session/uploadsX/a"),
    ],
)
def test_a_file_is_below_the_uploads(given: str | None, path: str) -> None:
    assert mount_path("mount_path", given, "file_1") == path


@pytest.mark.parametrize(
    "given",
    ["", "/", "/mnt/session/uploads", "/mnt/session/uploads/", "/..", "/a/../b", "./a", "/a/", "/a\x00", "x" * 1025,
     "/" + "é" * 128],
)  # fmt: skip
def test_a_path_that_names_no_file_or_leads_out_is_refused(given: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^resources\[0\]\.mount_path: "):
        mount_path("resources[0].mount_path", given, "file_1")
