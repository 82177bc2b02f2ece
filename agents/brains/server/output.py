"""What an inference server prints: to the log line by line, and the last lines kept for error messages."""

from __future__ import annotations

import codecs
import re
from collections import deque
from collections.abc import Callable

_LONGEST_LINE = 2_000
_KEPT_LINES = 20
_SHOWN_CHARACTERS = 3_000
_LINE_END = re.compile(r"[\r\n]+")


class Output:
    """Cuts a stream of bytes into lines. Holds at most one unfinished line and the last few."""

    def __init__(self, on_line: Callable[[str], None], *, mask: Callable[[str], str] = str) -> None:
        """*mask* takes secrets out of a line before anybody sees it."""
        self._on_line = on_line
        self._mask = mask
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._unfinished = ""
        self._kept: deque[str] = deque(maxlen=_KEPT_LINES)

    def feed(self, chunk: bytes) -> None:
        """Take more output. A progress bar's carriage return ends a line as well; longer lines are cut."""
        *lines, self._unfinished = _LINE_END.split(self._unfinished + self._decoder.decode(chunk))
        for line in lines:
            self._take(line)
        if len(self._unfinished) > _LONGEST_LINE:
            self._take(self._unfinished)
            self._unfinished = ""

    def finish(self) -> None:
        """Take what was printed last without an end of line."""
        self._take(self._unfinished)
        self._unfinished = ""

    def last_lines(self) -> str:
        """Return the end of what was printed, short enough for an error message."""
        return "\n".join(self._kept)[-_SHOWN_CHARACTERS:] or "(it printed nothing)"

    def _take(self, line: str) -> None:
        shown = self._mask(line)[:_LONGEST_LINE].rstrip()
        if shown:
            self._kept.append(shown)
            self._on_line(shown)
