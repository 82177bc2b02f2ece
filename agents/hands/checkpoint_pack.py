"""The form of one checkpoint in the store: contents, then the manifest, then where the manifest is.

    magic | contents of files, end to end | manifest | magic, start and length of the manifest, its digest

The manifest (JSON, deflated when it is long) comes last because only then is it known what was read. Invariant:
a pack that is cut off or altered is noticed: the manifest by the digest at the end, every content by the digest
in the manifest.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from agents.hands.checkpoint_manifest import DamagedPack, Manifest, decode, encode
from agents.hands.checkpoint_store import CheckpointStore, Sink

MAGIC = b"hecaton checkpoint 1\n"
_END = struct.Struct("<8sQQ16s")
_END_MAGIC = b"HCKPTEND"
_TAIL_BYTES = 64 * 1024
"""Read at once from a pack's end: most manifests are shorter."""
_MAX_MANIFEST = 1024**3
_PLAIN_BYTES = 8 * 1024
_TOGETHER_BYTES = 256 * 1024
_AHEAD_BYTES = 4 * 1024 * 1024
_NAME = re.compile(r"(\d{15})-([A-Za-z0-9_]{1,64})\.pack")


@dataclass(frozen=True, slots=True, order=True)
class PackName:
    """The name of a pack: its version, and the life of the host that wrote it."""

    version: int
    writer: str

    def __str__(self) -> str:
        return f"{self.version:015d}-{self.writer}.pack"

    @property
    def host(self) -> str:
        """The part of the writer's name that is the same in all lives of a host."""
        return self.writer.rpartition("_")[0]

    @classmethod
    def parse(cls, name: str) -> PackName | None:
        """Read a name; None for another kind of object."""
        match = _NAME.fullmatch(name)
        return cls(int(match[1]), match[2]) if match else None


def content_digest() -> hashlib.blake2b:
    """Return what digests the content of one file."""
    return hashlib.blake2b(digest_size=16)


class PackWriter:
    """A pack that is being written. Small contents are handed on together."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._held = bytearray()
        self.size = 0
        """Bytes so far; also where the next content will start."""
        self.add(MAGIC)

    def add(self, data: bytes) -> None:
        """Append content."""
        self.size += len(data)
        self._held += data
        if len(self._held) >= _TOGETHER_BYTES:
            self._hand_on()

    def _hand_on(self) -> None:
        self._sink.write(bytes(self._held))
        self._held.clear()

    def finish(self, manifest: Manifest) -> None:
        """Append the manifest and the end."""
        data = encode(manifest)
        if len(data) > _PLAIN_BYTES:
            data = zlib.compress(data, 1)
        start = self.size
        self.add(data)
        self.add(_END.pack(_END_MAGIC, start, len(data), hashlib.blake2b(data, digest_size=16).digest()))
        self._hand_on()


def read_manifest(store: CheckpointStore, folder: str, name: str, size: int) -> Manifest:
    """Return the manifest of a pack of *size* bytes; raises DamagedPack, StoreUnavailable."""
    begin = max(0, size - _TAIL_BYTES)
    try:
        tail = store.read(folder, name, begin, size - begin)
        if len(tail) < _END.size:
            raise DamagedPack("it is cut off")
        magic, start, length, digest = _END.unpack(tail[-_END.size :])
        if magic != _END_MAGIC or start + length + _END.size != size or length > _MAX_MANIFEST:
            raise DamagedPack("it has no end")
        data = (
            tail[start - begin : start - begin + length] if start >= begin else store.read(folder, name, start, length)
        )
    except FileNotFoundError as error:
        raise DamagedPack("it is gone") from error
    if hashlib.blake2b(data, digest_size=16).digest() != digest:
        raise DamagedPack("its manifest was altered")
    try:
        return decode(data if data.startswith(b"{") else zlib.decompress(data))
    except zlib.error as error:
        raise DamagedPack("its manifest was altered") from error


class PackReader:
    """Reads contents of one pack, in the order of their offsets, in few requests."""

    def __init__(self, store: CheckpointStore, folder: str, name: str) -> None:
        self._store = store
        self._where = (folder, name)
        self._start = 0
        self._held = b""

    def content(self, offset: int, length: int) -> Iterator[bytes]:
        """Yield the bytes of one content in pieces; fewer when the pack is cut off. Raises DamagedPack."""
        while length > 0:
            within = offset - self._start
            piece = self._held[within : within + length] if 0 <= within < len(self._held) else b""
            if not piece:
                self._fetch(offset)
                piece = self._held[:length]
            if not piece:
                return
            yield piece
            offset, length = offset + len(piece), length - len(piece)

    def _fetch(self, offset: int) -> None:
        try:
            self._held = self._store.read(*self._where, offset, _AHEAD_BYTES)
        except FileNotFoundError as error:
            raise DamagedPack("it is gone") from error
        self._start = offset
