"""Ranges of bytes, by RFC 9110."""

from __future__ import annotations

import pytest

from agents.api.ranges import ByteRange, RangeNotSatisfiable, wanted_range

ETAG = '"abc"'


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=2-4", (2, 3)),
        ("bytes=2-", (2, 8)),
        ("bytes=-3", (7, 3)),
        ("bytes=-30", (0, 10)),
        ("bytes=8-100", (8, 2)),
        ("bytes = 1 - 2", (1, 2)),
    ],
)
def test_one_range_is_found(header: str, expected: tuple[int, int]) -> None:
    assert wanted_range(header, None, ETAG, 10) == ByteRange(*expected, 10)


@pytest.mark.parametrize("header", [None, "bytes=-", "bytes=4-2", "lines=1-2", "bytes=0-1,4-5", "bytes=a-b", ""])
def test_what_is_no_single_range_means_the_whole(header: str | None) -> None:
    assert wanted_range(header, None, ETAG, 10) is None


BEYOND = [("bytes=10-", 10), ("bytes=10-12", 10), ("bytes=-0", 10), ("bytes=0-", 0)]


@pytest.mark.parametrize(("header", "size"), BEYOND)
def test_a_range_behind_the_end_cannot_be_satisfied(header: str, size: int) -> None:
    with pytest.raises(RangeNotSatisfiable):
        wanted_range(header, None, ETAG, size)


def test_a_range_holds_only_for_the_bytes_it_was_meant_for() -> None:
    assert wanted_range("bytes=0-1", '"other"', ETAG, 10) is None
    assert wanted_range("bytes=0-1", ETAG, ETAG, 10) == ByteRange(0, 2, 10)
    assert ByteRange(2, 3, 10).content_range() == "bytes 2-4/10"
