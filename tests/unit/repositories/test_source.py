"""What a repository resource may ask for.

Bug class this catches: an argument that git takes for an option, a copy outside of the workspace, a URL that leads
elsewhere than what was checked.
"""

from __future__ import annotations

from typing import Any

import pytest

from agents.errors import InvalidRequest
from agents.repositories.source import RepositorySource, mount_path_of, source_of

URL = "https://github.com/owner/repo.git"


def test_a_repository_is_copied_below_the_workspace_by_its_own_name() -> None:
    for url in (URL, "https://github.com/owner/repo", "https://github.com/owner/repo/"):
        assert mount_path_of("", None, source_of("", {"url": url})) == "/workspace/repo"
    assert mount_path_of("", "/workspace/a//b/", RepositorySource(URL)) == "/workspace/a/b"


def test_a_checkout_is_shown_as_it_was_given() -> None:
    for checkout in (None, {"type": "branch", "name": "feature/x"}, {"type": "commit", "sha": "ab" * 20}):
        assert source_of("", {"url": URL, "checkout": checkout}).checkout() == checkout


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"url": "git@github.com:owner/repo.git"}, "url"),
        ({"url": "file:///etc"}, "url"),
        ({"url": "https://token@github.com/owner/repo"}, "url"),
        ({"url": "https://github.com/"}, "url"),
        ({"url": "https://github.com/owner/.."}, "url"),
        ({"url": "https://github.com./owner/repo"}, "url"),
        ({"url": URL + "?x=1"}, "url"),
        ({"url": URL + "#x"}, "url"),
        ({"url": ""}, "url"),
        *(
            ({"url": URL, "checkout": {"type": "branch", "name": name}}, "checkout.name")
            for name in ("", "--upload-pack=x", "a..b", "a b", "a\n", ".a", "a.lock", "a/", "@", "a@{1}", "x" * 256)
        ),
        *(
            ({"url": URL, "checkout": {"type": "commit", "sha": sha}}, "checkout.sha")
            for sha in ("abc", "AB" * 20, "--" + "a" * 38, "")
        ),
    ],
)
def test_what_cannot_be_is_refused_by_name(given: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        source_of("resources[0].", given)
    assert refused.value.message.startswith(f"resources[0].{named}:")


@pytest.mark.parametrize(
    "path",
    [
        "/etc",
        "/workspace",
        "/workspace/../etc",
        "workspace/x",
        "/workspace/a\n",
        "/workspacex/a",
        f"/workspace/{'é' * 128}",
    ],
)
def test_a_copy_is_below_the_workspace(path: str) -> None:
    with pytest.raises(InvalidRequest, match="mount_path"):
        mount_path_of("", path, RepositorySource(URL))
