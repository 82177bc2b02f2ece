"""The code of a hand on its way: packed where it is declared, unpacked where a replica runs.

An archive is named by a digest of what is in it, so that the same code has the same name whenever it is packed. It is
read as untrusted: what it unpacks to is bounded and stays below its directory.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from agents.errors import InvalidRequest, PayloadTooLarge
from agents.hand_settings import HandDefinition, is_path

MOST_BYTES = 8 * 1024 * 1024
"""Of all files of one hand together: code, not data."""
MOST_FILES = 2000
_LEFT_OUT = frozenset({"__pycache__", "node_modules", "venv"})
_STAMP = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644


def pack(definition: HandDefinition) -> tuple[HandDefinition, bytes | None]:
    """Return *definition* with its server as a module, and the archive that it is in; None: it is installed.

    Raises InvalidRequest, PayloadTooLarge.
    """
    if definition.working_dir is not None:
        archive = _packed(definition.working_dir, PurePosixPath(), what="working_dir")
        return definition.model_copy(update={"working_dir": None, "contract": None}), archive
    if not is_path(definition.server):
        return definition.model_copy(update={"contract": None}), None
    where, _, attribute = definition.server.rpartition(":")
    path = Path(where)
    if not path.stem.isidentifier():
        raise InvalidRequest(f"server: {path.name!r} can not be imported: it is no name of a Python module")
    archive = _packed(path, PurePosixPath(path.name), what="server")
    changes = {"server": f"{path.stem}:{attribute}", "contract": None}
    return definition.model_copy(update=changes), archive


def read_contract(definition: HandDefinition) -> str:
    """Return the text of a hand's contract; empty without one. Raises InvalidRequest."""
    if definition.contract is None:
        return ""
    try:
        return definition.contract.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"contract: {definition.contract} can not be read: {error}") from error


def _packed(path: Path, name: PurePosixPath, *, what: str) -> bytes:
    if not path.exists():
        raise InvalidRequest(f"{what}: there is no {path}")
    try:
        return packed_files({str(name / inner): file.read_bytes() for inner, file in _files(path, what)})
    except OSError as error:
        raise InvalidRequest(f"{what}: {path} can not be read: {error}") from error


def _files(path: Path, what: str) -> Iterator[tuple[PurePosixPath, Path]]:
    if path.is_file():
        yield PurePosixPath(), path
        return
    taken = size = 0
    for file in sorted(path.rglob("*")):
        inner = PurePosixPath(file.relative_to(path).as_posix())
        if any(part in _LEFT_OUT or part.startswith(".") for part in inner.parts) or not file.is_file():
            continue
        taken, size = taken + 1, size + file.stat().st_size
        if taken > MOST_FILES or size > MOST_BYTES:
            raise PayloadTooLarge(f"{what}: {path} holds more than {MOST_FILES} files or {MOST_BYTES} bytes")
        yield inner, file


def packed_files(files: dict[str, bytes]) -> bytes:
    """Return an archive of *files*."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(files.items()):
            info = zipfile.ZipInfo(name, _STAMP)
            info.external_attr = _MODE << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def digest_of(archive: bytes) -> str:
    """Return the digest of what is in an archive, however it is packed. Raises InvalidRequest, PayloadTooLarge."""
    digest = hashlib.sha256()
    for name, content in sorted(unpacked(archive).items()):
        digest.update(f"{len(name.encode())}:{name}:{len(content)}:".encode() + content)
    return digest.hexdigest()


def unpacked(archive: bytes) -> dict[str, bytes]:
    """Return the files of an archive. Raises InvalidRequest, PayloadTooLarge."""
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as packed:
            entries = [entry for entry in packed.infolist() if not entry.is_dir()]
            # Judged by what it says it unpacks to; more than that no entry is read.
            if len(entries) > MOST_FILES or sum(entry.file_size for entry in entries) > MOST_BYTES:
                raise PayloadTooLarge(f"source: unpacks to more than {MOST_FILES} files or {MOST_BYTES} bytes")
            return {_inner(entry.filename): packed.read(entry) for entry in entries}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, ValueError) as error:
        raise InvalidRequest(f"source: is no zip archive that can be read: {error}") from error


def _inner(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or not path.parts:
        raise InvalidRequest(f"source: {name[:200]!r} is no place within the archive")
    return str(path)


def unpack(archive: bytes, digest: str, root: Path) -> Path:
    """Unpack into a directory of *root* that is named by the digest, unless it is there; returns the directory."""
    target = root / digest
    if target.is_dir():
        return target
    root.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f"{digest}.", dir=root))
    try:
        for name, content in unpacked(archive).items():
            file = scratch / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        scratch.rename(target)
    except OSError:
        # Another replica on this node was first.
        if not target.is_dir():
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target
