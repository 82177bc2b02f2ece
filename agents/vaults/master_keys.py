"""Where master keys come from: the settings, a file, or a key management service."""

from __future__ import annotations

import asyncio
import fcntl
import importlib
import os
import secrets
import stat
from base64 import b64encode
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar, cast

from agents.config import Settings
from agents.disk import sync_directory
from agents.errors import InvalidRequest
from agents.vaults.envelope import KeyUnavailable, MasterKeys, cipher, decrypt, encrypt
from agents.vaults.settings import KEY_BYTES, key_id, parsed_keys

_SERVICE_SECONDS = 5.0
"""Longest wait for one answer of a key service: a session waits meanwhile."""
_KEPT = 2
"""Keys that stay in the file: the current one, and the one before it for who read the file just before a change."""

T = TypeVar("T")


def master_keys(settings: Settings) -> MasterKeys:
    """Return what *settings* say; files are read, and services loaded, when they are needed."""
    vaults = settings.vaults
    if vaults.key_service is not None:
        return KeyService(vaults.key_service)
    if vaults.master_key is not None:
        return HeldKeys(parsed_keys(vaults.master_key.get_secret_value()))
    return key_file(settings) or _NoKeys()


def key_file(settings: Settings) -> KeyFile | None:
    """Return the file that master keys are in; None when they are elsewhere, or every machine would make its own."""
    vaults = settings.vaults
    if vaults.key_service is not None or vaults.master_key is not None:
        return None
    if vaults.master_key_file is not None:
        return KeyFile(vaults.master_key_file)
    return None if settings.database_url is not None else KeyFile(settings.data_dir / "master.key", make=True)


class HeldKeys:
    """Keys in this process's memory, by their ids; the first is the current one."""

    def __init__(self, keys: Mapping[str, bytes], where: str = "vaults.master_key") -> None:
        self._ciphers = {key_id: cipher(key) for key_id, key in keys.items()}
        self._where = where

    async def current(self) -> str:
        """See MasterKeys.current."""
        return next(iter(self._ciphers))

    async def wrap(self, data_key: bytes, context: bytes) -> tuple[str, bytes]:
        """See MasterKeys.wrap."""
        key_id, aead = next(iter(self._ciphers.items()))
        return key_id, encrypt(aead, data_key, context)

    async def unwrap(self, key_id: str, wrapped: bytes, context: bytes) -> bytes:
        """See MasterKeys.unwrap."""
        aead = self._ciphers.get(key_id)
        if aead is None:
            raise KeyUnavailable(f"a secret is sealed under master key {key_id}, which is not in {self._where}")
        return decrypt(aead, wrapped, context)


class KeyFile:
    """Keys in a file, read again whenever it has changed: who changes the key need not tell the processes."""

    def __init__(self, path: Path, *, make: bool = False) -> None:
        """With *make* the file is made when the first key is needed and there is none."""
        self.path = path
        self._make = make
        self._seen: tuple[tuple[int, ...], HeldKeys] | None = None

    @property
    def makes_it(self) -> bool:
        """Whether the file is yet to be made, and will be."""
        return self._make and not self.path.exists()

    async def current(self) -> str:
        """See MasterKeys.current."""
        return await self._held(make=self._make).current()

    async def wrap(self, data_key: bytes, context: bytes) -> tuple[str, bytes]:
        """See MasterKeys.wrap."""
        return await self._held(make=self._make).wrap(data_key, context)

    async def unwrap(self, key_id: str, wrapped: bytes, context: bytes) -> bytes:
        """See MasterKeys.unwrap."""
        return await self._held(make=False).unwrap(key_id, wrapped, context)

    def add_key(self, expected: str) -> str:
        """Put a fresh key before the current one, which is *expected*, else nothing; returns the id of the current.

        Keys older than that one go. Raises KeyUnavailable.
        """
        with self._locked():
            keys = self._read()
            if next(iter(keys)) == expected:
                fresh = secrets.token_bytes(KEY_BYTES)
                keys = dict([(key_id(fresh), fresh), *keys.items()][:_KEPT])
                self._write(keys, replacing=True)
            return next(iter(keys))

    def _held(self, *, make: bool) -> HeldKeys:
        try:
            mark = self._mark()
        except FileNotFoundError:
            if not make:
                raise KeyUnavailable(f"master key file {self.path} is not there") from None
            fresh = secrets.token_bytes(KEY_BYTES)
            self._write({key_id(fresh): fresh}, replacing=False)
            mark = self._mark()
        if self._seen is None or self._seen[0] != mark:
            self._seen = mark, HeldKeys(self._read(), str(self.path))
        return self._seen[1]

    def _mark(self) -> tuple[int, ...]:
        found = self.path.stat()
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _read(self) -> dict[str, bytes]:
        try:
            with self.path.open(encoding="ascii") as file:
                mode = os.fstat(file.fileno()).st_mode
                if mode & (stat.S_IRWXG | stat.S_IRWXO):
                    raise KeyUnavailable(f"master key file {self.path}: others may read it; run chmod 600 on it")
                return parsed_keys(file.read())
        except OSError as error:
            raise KeyUnavailable(f"master key file {self.path} cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise KeyUnavailable(f"master key file {self.path}: {error}") from None

    def _write(self, keys: Mapping[str, bytes], *, replacing: bool) -> None:
        """Write the file as a whole and durably; without *replacing* the first of several who make it wins."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_name(f"{self.path.name}.{secrets.token_hex(8)}")
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w", encoding="ascii") as file:
                file.writelines(f"{b64encode(key).decode()}\n" for key in keys.values())
                file.flush()
                os.fsync(file.fileno())
            if replacing:
                draft.replace(self.path)
            else:
                _link_first(draft, self.path)
            sync_directory(self.path.parent)
        except OSError as error:
            raise KeyUnavailable(f"master key file {self.path} cannot be written: {error.strerror}") from None
        finally:
            draft.unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Generator[None]:
        try:
            descriptor = os.open(self.path.parent, os.O_RDONLY)
        except OSError as error:
            raise KeyUnavailable(f"{self.path.parent} cannot be opened: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


class KeyService:
    """A key management service behind a deadline; whatever its client raises is that it does not answer."""

    def __init__(self, entry: str) -> None:
        """*entry* is ``module:function``; the function returns the client, and may ask its own environment."""
        self._entry = entry
        self._client: MasterKeys | None = None

    async def current(self) -> str:
        """See MasterKeys.current."""
        return await self._answer(lambda client: client.current())

    async def wrap(self, data_key: bytes, context: bytes) -> tuple[str, bytes]:
        """See MasterKeys.wrap."""
        return await self._answer(lambda client: client.wrap(data_key, context))

    async def unwrap(self, key_id: str, wrapped: bytes, context: bytes) -> bytes:
        """See MasterKeys.unwrap."""
        return await self._answer(lambda client: client.unwrap(key_id, wrapped, context))

    async def _answer(self, call: Callable[[MasterKeys], Awaitable[T]]) -> T:
        try:
            if self._client is None:
                module, _, function = self._entry.partition(":")
                self._client = cast("MasterKeys", getattr(importlib.import_module(module), function)())
            async with asyncio.timeout(_SERVICE_SECONDS):
                return await call(self._client)
        except KeyUnavailable:
            raise
        except Exception as error:
            # Its text is a stranger's and may show what it was given.
            raise KeyUnavailable(f"the key service {self._entry} fails: {type(error).__name__}") from None


class _NoKeys:
    """There is no key that all machines of a platform on PostgreSQL would share."""

    async def current(self) -> str:
        raise self._refusal()

    async def wrap(self, data_key: bytes, context: bytes) -> tuple[str, bytes]:
        del data_key, context
        raise self._refusal()

    async def unwrap(self, key_id: str, wrapped: bytes, context: bytes) -> bytes:
        del wrapped, context
        raise KeyUnavailable(f"a secret is sealed under master key {key_id}, and no master key is set")

    @staticmethod
    def _refusal() -> InvalidRequest:
        return InvalidRequest(
            "this server cannot keep secrets yet: with database_url set, vaults.master_key, vaults.master_key_file or"
            " vaults.key_service must be set, the same on every machine",
            error_code="not_available",
        )


def _link_first(draft: Path, path: Path) -> None:
    try:
        os.link(draft, path)
    except FileExistsError:
        return
