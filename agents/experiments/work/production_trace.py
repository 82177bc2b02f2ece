"""Traces of inference services in production: when requests came, and how many tokens they read and wrote.

Two public formats are read: that of Azure's LLM inference traces (Patel et al., "Splitwise", ISCA 2024) and that of
Mooncake (Qin et al., FAST 2025).
"""

from __future__ import annotations

import csv
import gzip
import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TextIO

import orjson

from agents.errors import InvalidRequest

_CSV = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
_EPOCH = datetime(2000, 1, 1)
"""Near, so that seconds since it keep their microseconds as floats."""
_MICROSECONDS = 26
"""Characters of a time stamp to the microsecond; Azure's have seven digits behind the point."""


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """One request of a trace."""

    at: float
    """Seconds since the first one."""
    context_tokens: int
    output_tokens: int


@lru_cache(maxsize=4)
def read_trace(path: Path) -> tuple[TraceRequest, ...]:
    """Read a trace, in order of its times: CSV or JSON lines, gzipped or not. Raises InvalidRequest."""
    try:
        with _opened(path) as file:
            requests = sorted(_requests(file, path), key=lambda request: request.at)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidRequest(f"{path} can not be read: {error}") from error
    if len(requests) < 2 or requests[0].at == requests[-1].at:
        raise InvalidRequest(f"{path}: a trace must have requests at two times at least")
    began = requests[0].at
    return tuple(replace(request, at=request.at - began) for request in requests)


def _opened(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _requests(file: TextIO, path: Path) -> Iterator[TraceRequest]:
    first = file.readline()
    lines: Iterable[str] = itertools.chain([first], file)
    if first.lstrip().startswith("{"):
        yield from _from_json_lines(lines, path)
    else:
        yield from _from_csv(lines, path)


def _from_csv(lines: Iterable[str], path: Path) -> Iterator[TraceRequest]:
    rows = csv.DictReader(lines)
    if missing := set(_CSV) - set(rows.fieldnames or ()):
        raise InvalidRequest(
            f"{path}: a trace is CSV with the columns {', '.join(_CSV)}, or JSON lines with timestamp, input_length"
            f" and output_length; it has no column {', '.join(sorted(missing))}"
        )
    for row in rows:
        try:
            at = datetime.fromisoformat(row[_CSV[0]][:_MICROSECONDS]).replace(tzinfo=None)
            yield _request((at - _EPOCH).total_seconds(), int(row[_CSV[1]]), int(row[_CSV[2]]))
        except (TypeError, ValueError) as error:
            raise InvalidRequest(f"{path}, line {rows.line_num}: {error}") from error


def _from_json_lines(lines: Iterable[str], path: Path) -> Iterator[TraceRequest]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
            yield _request(float(row["timestamp"]) / 1000, int(row["input_length"]), int(row["output_length"]))
        except KeyError as error:
            raise InvalidRequest(f"{path}, line {number}: it has no {error.args[0]}") from error
        except (TypeError, ValueError) as error:
            raise InvalidRequest(f"{path}, line {number}: {error}") from error


def _request(at: float, context_tokens: int, output_tokens: int) -> TraceRequest:
    if not math.isfinite(at) or context_tokens < 0 or output_tokens < 0:
        raise ValueError("times must be finite and numbers of tokens 0 or more")
    return TraceRequest(at, context_tokens, output_tokens)
