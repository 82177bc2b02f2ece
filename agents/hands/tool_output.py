"""What the model sees of a tool's output: cleaned, never empty, and bounded.

Output beyond the limit stays whole in a file of the sandbox; the model gets its beginning, its end and
the path (spec C.1). Invariant: the server touches that file only through directories that no tool can
replace, or with links refused.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.hands.sandbox_dirs import CALLS, SandboxDirs

NO_OUTPUT = "(no output)"
_ANSI = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
_UNSAFE_NAME = re.compile(r"[^A-Za-z0-9_.-]")
_FOLDER = "tool-output"
# Each of the preview's two ends: enough to see what happened, cheap to read for the model.
_PREVIEW_CHARS = 8_000
_BYTES_PER_CHAR = 4


def text_block(text: str) -> list[dict[str, Any]]:
    """Wrap *text* as content; empty text becomes a fixed placeholder, for the API refuses empty blocks.

    File names that are not UTF-8 arrive with surrogates, which no JSON may hold: each becomes a question mark.
    """
    return [{"type": "text", "text": (text or NO_OUTPUT).encode(errors="replace").decode()}]


def clean(raw: bytes) -> str:
    """Decode terminal output and drop what only a terminal understands."""
    return _ANSI.sub("", raw.decode(errors="replace")).replace("\0", "\N{REPLACEMENT CHARACTER}").rstrip("\n")


@dataclass(slots=True)
class CallFile:
    """A file that the server made for one call's output; only the server can unlink it."""

    fd: int
    host_path: Path
    shell_path: str

    @classmethod
    def create(cls, dirs: SandboxDirs, calls: str, name: str) -> CallFile:
        """Create the file, owned by the sandbox's user; raises OSError."""
        path = dirs.of(CALLS) / name
        # A process never gives a name twice: one that is there was left by another that was killed in mid-call.
        path.unlink(missing_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        if dirs.uid is not None:
            os.fchown(fd, dirs.uid, dirs.uid)
        return cls(fd, path, f"{calls}/{name}")

    def close(self) -> None:
        """Close and unlink."""
        os.close(self.fd)
        with contextlib.suppress(FileNotFoundError):
            self.host_path.unlink()

    def read(self, limit: int | None = None) -> bytes:
        """Return the content, up to *limit* bytes."""
        size = os.fstat(self.fd).st_size
        return os.pread(self.fd, size if limit is None else min(size, limit), 0)


@dataclass(frozen=True, slots=True)
class OutputLimit:
    """Bounds the output of one sandbox's calls."""

    chars: int
    dirs: SandboxDirs
    scratch: str
    """The temporary directory's path as the model should read it."""

    def of_file(self, output: CallFile, call_id: str) -> str:
        """Return a finished call's output as text, moving an oversize one to a place the model can read."""
        size = os.fstat(output.fd).st_size
        if size <= self.chars * _BYTES_PER_CHAR:
            text = clean(output.read())
            if len(text) <= self.chars:
                return text
        end = min(_PREVIEW_CHARS, self.chars // 2) * _BYTES_PER_CHAR
        head, tail = clean(os.pread(output.fd, end, 0)), clean(os.pread(output.fd, end, max(0, size - end)))
        return self._preview(head, tail, f"{size} bytes", self._keep(output.host_path, call_id))

    def of_text(self, text: str, call_id: str) -> str:
        """Return *text*, or a preview of it after saving it whole in the sandbox."""
        if len(text) <= self.chars:
            return text
        spare = CallFile.create(self.dirs, "", f"{_UNSAFE_NAME.sub('_', call_id)[:100]}.spill")
        try:
            with os.fdopen(os.dup(spare.fd), "wb") as file:
                file.write(text.encode(errors="replace"))
            kept = self._keep(spare.host_path, call_id)
        finally:
            spare.close()
        return self._preview(text[:_PREVIEW_CHARS], text[-_PREVIEW_CHARS:], f"{len(text)} characters", kept)

    def _preview(self, head: str, tail: str, size: str, kept: str | None) -> str:
        chars = min(_PREVIEW_CHARS, self.chars // 2)
        where = f"the whole output is in {kept}" if kept else "the whole output could not be kept"
        return f"{head[:chars]}\n\n[output truncated: {size}; {where}]\n\n{tail[-chars:]}"

    def _keep(self, source: Path, call_id: str) -> str | None:
        """Move *source* into the sandbox's temporary directory and return its path there, None when blocked."""
        name = f"{_UNSAFE_NAME.sub('_', call_id)[:100]}.txt"
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            tmp = os.open(self.dirs.of("tmp"), flags)
            try:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(_FOLDER, 0o700, dir_fd=tmp)
                    if self.dirs.uid is not None:
                        os.chown(_FOLDER, self.dirs.uid, self.dirs.uid, dir_fd=tmp, follow_symlinks=False)
                folder = os.open(_FOLDER, flags, dir_fd=tmp)
            finally:
                os.close(tmp)
            try:
                os.rename(source, name, dst_dir_fd=folder)
            finally:
                os.close(folder)
        except OSError:  # the tool put something else there: its loss
            return None
        return f"{self.scratch}/{_FOLDER}/{name}"
