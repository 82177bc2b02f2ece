"""How a tool says no: the message is the model's to read, in the form of an error result."""

from __future__ import annotations

import errno

_REASONS = {
    errno.ENOENT: "no such file or directory",
    errno.ENOTDIR: "not a directory",
    errno.EISDIR: "is a directory",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EEXIST: "file already exists",
    errno.ELOOP: "too many levels of symbolic links",
    errno.EXDEV: "outside the session's working directory",
    errno.EROFS: "read-only file system",
    errno.ENXIO: "not a regular file",
}


class ToolFailure(Exception):
    """A tool call that failed in an expected way; its text goes to the model."""


def file_failure(tool: str, path: str, error: OSError) -> ToolFailure:
    """Phrase an OSError for the model: the same words everywhere, and never a path of the host."""
    reason = _REASONS.get(error.errno or 0) or (error.strerror or "input/output error").lower()
    return ToolFailure(f"{tool}: {path}: {reason}")
