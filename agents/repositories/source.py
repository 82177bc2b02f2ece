"""Where a repository is, and what of it a session gets: parsed once, from the request and from a session's row."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from agents.catalog import limits
from agents.errors import InvalidRequest
from agents.net.guard import NetworkRefused, parse_url

URL_CHARS = 2048  # ours
BRANCH_CHARS = 255  # what a file system takes as a name, which branches are
PATH_CHARS = 500  # ours
NAME_BYTES = 255  # of every file system that a sandbox may be on
WORKSPACE = "/workspace"

_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
# The rules of git-check-ref-format, less names of one part that begin with a hyphen.
_BAD_BRANCH = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|(^|/)\.|\.(lock)?(/|$)|^-|^/|/$|^@$")


@dataclass(frozen=True, slots=True)
class RepositorySource:
    """``branch`` and ``sha``: at most one of them; neither is the default branch."""

    url: str
    branch: str | None = None
    sha: str | None = None

    def checkout(self) -> dict[str, str] | None:
        """Return the checkout as the API shows it."""
        if self.branch is not None:
            return {"type": "branch", "name": self.branch}
        return None if self.sha is None else {"type": "commit", "sha": self.sha}


def source_of(where: str, given: Mapping[str, Any]) -> RepositorySource:
    """Return what a resource asks for; *where* stands before the names of its fields. Raises InvalidRequest."""
    url = _checked_url(f"{where}url", given["url"])
    checkout: Mapping[str, Any] | None = given.get("checkout")
    if checkout is None:
        return RepositorySource(url)
    if checkout["type"] == "branch":
        return RepositorySource(url, branch=_checked_branch(f"{where}checkout.name", checkout["name"]))
    sha: str = checkout["sha"]
    if not _SHA.fullmatch(sha):
        raise InvalidRequest(f"{where}checkout.sha: must be a full commit SHA, of 40 or 64 small hexadecimal digits")
    return RepositorySource(url, sha=sha)


def mount_path_of(where: str, given: str | None, source: RepositorySource) -> str:
    """Return where the copy is to be: below the workspace, by its own name unless *given*. Raises InvalidRequest."""
    if not given:
        return f"{WORKSPACE}/{_name_of(source.url)}"
    limits.check_length(f"{where}mount_path", given, PATH_CHARS)
    path = posixpath.normpath(given)
    plain = given.isprintable() and "\\" not in given and ".." not in given.split("/")
    if not plain or not path.startswith(f"{WORKSPACE}/"):
        raise InvalidRequest(f"{where}mount_path: must be an absolute path below {WORKSPACE}, not {given[:200]!r}")
    if any(len(part.encode()) > NAME_BYTES for part in path.split("/")):
        raise InvalidRequest(f"{where}mount_path: no part of it may have more than {NAME_BYTES} bytes")
    return path


def _checked_url(where: str, url: str) -> str:
    limits.check_length(where, url, URL_CHARS, shortest=1)
    try:
        place = parse_url(url)
    except NetworkRefused as refused:
        raise InvalidRequest(f"{where}: {refused.message}") from None
    # The name that is looked up must be the one that git will connect to, letter for letter.
    plain = (urlsplit(url).hostname or "").lower() == place.host
    if place.query or "#" in url or not plain or not _NAME.fullmatch(_name_of(url)):
        raise InvalidRequest(f"{where}: must be the https URL of a repository such as https://github.com/owner/repo")
    return url


def _name_of(url: str) -> str:
    name = urlsplit(url).path.rstrip("/").rpartition("/")[2].removesuffix(".git")
    return "" if name in (".", "..") else name


def _checked_branch(where: str, branch: str) -> str:
    limits.check_length(where, branch, BRANCH_CHARS, shortest=1)
    if _BAD_BRANCH.search(branch):
        raise InvalidRequest(f"{where}: {branch[:100]!r} cannot be the name of a branch")
    return branch
