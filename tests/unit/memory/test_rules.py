"""What holds of memories in every store: paths and sizes (spec A.9)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.errors import InvalidRequest
from agents.memory import rules

GOOD = ["/a", "/a/b.md", "/.hidden", "/...", "/with space/ü", "/" + "x" * 1023, "/" + "/".join("a" * 20)]
BAD = [
    "", "a", "a/b", "/", "//", "/a/", "/a//b", "/.", "/..", "/a/../b", "/a/./b",
    "/a\nb", "/a\x7f", "/a\u200d", "/a\u2028", "/a\u2029", "/a\ud800", "/e\u0301",
    "/" + "x" * 1024, "/" + "é" * 512, "/" + "/".join("a" * 21),
]  # fmt: skip


@pytest.mark.parametrize("path", GOOD)
def test_a_good_path_passes(path: str) -> None:
    assert rules.checked_path(path) == path


@pytest.mark.parametrize("path", BAD)
def test_a_bad_path_is_refused_by_name(path: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^path: "):
        rules.checked_path(path)


def test_a_content_is_measured_in_bytes() -> None:
    full = "é" * (rules.MAX_CONTENT_BYTES // 2)
    assert rules.text_of(full).size == rules.MAX_CONTENT_BYTES
    for content in (full + "x", "\ud800", "a\x00"):
        with pytest.raises(InvalidRequest, match=r"^content: "):
            rules.text_of(content)


def test_a_digest_is_of_the_bytes_as_they_came() -> None:
    digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert rules.text_of("") == rules.Text("", digest, 0)
    assert rules.checked_sha256(digest, "x") == digest
    for wrong in (digest.upper(), digest[:-1], digest + "0", digest + "\n"):
        with pytest.raises(InvalidRequest, match=r"^x: "):
            rules.checked_sha256(wrong, "x")


SEGMENT = st.text("ab-.0é", min_size=1, max_size=3).filter(lambda it: it not in (".", ".."))
PATH = st.lists(SEGMENT, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))


@given(PATH, PATH)
def test_what_is_above_a_path_and_below_it_is_in_its_way_and_nothing_else(path: str, other: str) -> None:
    first, end = rules.below(path + "/")
    expected = path == other or other in rules.above(path) or first <= other < end
    assert rules.are_in_each_others_way(path, other) == expected


@given(st.sets(PATH), st.integers(0, 5))
def test_a_listing_that_goes_on_behind_each_place_shows_all_once(found: set[str], skipped: int) -> None:
    places = rules.rolled_up(sorted(found), "/")
    assert places == sorted(set(places))
    for place in places[:skipped]:
        assert (
            rules.rolled_up(sorted(path for path in found if path >= rules.past(place)), "/")
            == places[places.index(place) + 1 :]
        )
