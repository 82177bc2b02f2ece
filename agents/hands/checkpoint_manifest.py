"""What a checkpoint says about a session's files: every name, what it is, and which pack holds its content.

The table of all files is a mapping of directories to their entries. A manifest carries the whole table, or only
what differs from the table of an earlier pack (its *base*, which always carries a whole one), so that reading
takes two manifests at most and writing costs what has changed. Manifests come back from a store that others
may reach: invariant: decoding accepts only names that stay in their directory and figures that make sense.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import orjson

COVERED = ("workspace", "home", "outputs")
"""The private directories that checkpoints hold; the others are scratch."""

_MAX_NAME = 255
_FLAG = "\0"


class DamagedPack(Exception):
    """A pack that is cut off, altered or missing; the text says what is wrong with it."""


class Entry(NamedTuple):
    """One name in a directory, as lstat(2) describes it, and where its content is."""

    mode: int
    """Kind and permissions."""
    size: int = 0
    """Bytes of a regular file."""
    mtime_ns: int = 0
    ctime_ns: int = 0
    """0 when the file may have changed unnoticed since it was read: then it is read again."""
    inode: int = 0
    pack: int = 0
    """Version of the pack that holds the content of a regular file."""
    offset: int = 0
    digest: str = ""
    """blake2b of the content, 16 bytes in hexadecimal; empty for what has none."""
    target: str = ""
    """Where a symbolic link points."""
    extents: tuple[tuple[int, int], ...] = ()
    """Start and length of what a file with holes holds between them; empty: the whole file."""

    @property
    def stored(self) -> int:
        """Bytes of content in the pack."""
        if not self.digest:
            return 0
        return sum(length for _, length in self.extents) if self.extents else self.size


Table = dict[str, dict[str, Entry]]
"""Entries by directory and name; directories relative to the sandbox's own, without a slash at either end."""
Changes = dict[str, dict[str, Entry | None]]
"""What differs between two tables; None for what is gone."""
AnyChanges = Mapping[str, Mapping[str, Entry | None]]
"""The same to look at; a whole table is what differs from an empty one."""


@dataclass(slots=True)
class Manifest:
    """The part of a pack that is not content."""

    version: int
    origin: str
    """Which directory on which machine the inode numbers and change times are true for."""
    base: str | None
    """Name of the pack whose table ``changes`` applies to; None when ``changes`` is the whole table."""
    packs: Mapping[int, tuple[str, int]]
    """The packs that hold content, by version: their names, and how many bytes of content were written to each."""
    changes: AnyChanges


def apply(table: Table, changes: AnyChanges) -> None:
    """Bring *table* up to date."""
    for directory, entries in changes.items():
        known = table.setdefault(directory, {})
        for name, entry in entries.items():
            if entry is None:
                known.pop(name, None)
            else:
                known[name] = entry
        if not known:
            del table[directory]


def merge(earlier: Changes, later: AnyChanges) -> None:
    """Add *later* changes to *earlier* ones, so that applying the result is applying both."""
    for directory, entries in later.items():
        earlier.setdefault(directory, {}).update(entries)


def encode(manifest: Manifest) -> bytes:
    """Return the manifest as bytes."""
    return orjson.dumps(
        {
            "version": manifest.version,
            "origin": manifest.origin,
            "base": manifest.base,
            "packs": {str(version): pack for version, pack in manifest.packs.items()},
            "changes": {
                _plain(directory): {_plain(name): _row(entry) for name, entry in entries.items()}
                for directory, entries in manifest.changes.items()
            },
        }
    )


def decode(data: bytes) -> Manifest:
    """Read a manifest back; raises DamagedPack for one that is not sound."""
    try:
        raw: dict[str, Any] = orjson.loads(data)
        base: str | None = raw["base"]
        return Manifest(
            version=_figure(raw["version"]),
            origin=str(raw["origin"]),
            base=None if base is None else _name(base),
            packs={
                _figure(int(version)): (_name(name), _figure(size)) for version, (name, size) in raw["packs"].items()
            },
            changes={_directory(path): _entries(entries) for path, entries in raw["changes"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedPack(f"its manifest is not sound: {error}") from error


def _plain(name: str) -> str:
    """Return a file name as text that JSON can hold: names are bytes, and may be no UTF-8."""
    if name.isascii():
        return name
    try:
        name.encode()
    except UnicodeEncodeError:
        return _FLAG + name.encode(errors="surrogateescape").decode("latin-1")
    return name


def _raw(text: Any) -> str:
    if not isinstance(text, str):
        raise TypeError("a name is not text")
    if text.startswith(_FLAG):
        return text[1:].encode("latin-1").decode(errors="surrogateescape")
    return text


def _name(text: Any) -> str:
    name = _raw(text)
    if name in ("", ".", "..") or "/" in name or "\0" in name or len(name.encode(errors="surrogateescape")) > _MAX_NAME:
        raise ValueError(f"{name[:80]!r} is no name")
    return name


def _directory(text: Any) -> str:
    path = _raw(text)
    return "/".join(_name(_plain(part)) for part in path.split("/")) if path else ""


def _row(entry: Entry | None) -> list[Any] | None:
    if entry is None:
        return None
    row: list[Any] = list(entry)
    row[8] = _plain(entry.target)
    return row if entry.extents else row[:9] if entry.target else row[:8] if entry.digest else row[:5]


def _entries(raw: Any) -> dict[str, Entry | None]:
    return {_name(name): None if row is None else _entry(row) for name, row in cast("dict[Any, Any]", raw).items()}


def _entry(row: list[Any]) -> Entry:
    mode, size, mtime, ctime, inode, pack, offset = (_figure(value) for value in [*row[:7], 0, 0][:7])
    digest, target, extents = [*row[7:], "", "", ()][:3] if len(row) > 7 else ["", "", ()]
    target = _raw(target)
    if not isinstance(digest, str) or "\0" in target:
        raise ValueError("an entry is not sound")
    pairs = tuple((_figure(start), _figure(length)) for start, length in extents)
    entry = Entry(mode, size, mtime, ctime, inode, pack, offset, digest, target, pairs)
    kind = stat.S_IFMT(entry.mode)
    if kind not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK) or (kind == stat.S_IFREG) != bool(digest):
        raise ValueError("an entry is of no known kind")
    if any(start + length > entry.size for start, length in pairs):
        raise ValueError("an extent reaches beyond its file")
    return entry


def _figure(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no figure")
    return value
