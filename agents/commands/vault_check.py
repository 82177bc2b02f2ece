"""What ``hecaton doctor`` says of the key that seals the vaults' secrets: it seals something, and opens it again."""

from __future__ import annotations

import asyncio
import os

from agents.commands.findings import Check
from agents.config import Settings
from agents.errors import HecatonError, InvalidRequest
from agents.vaults.envelope import Envelope, Place
from agents.vaults.master_keys import key_file, master_keys

_NAME = "vault key"
_PLACE = Place("doctor", str(os.getpid()))


def check_master_key(settings: Settings) -> Check:
    """Try the master key; a file that is yet to be made is left so."""
    file = key_file(settings)
    if file is not None and file.makes_it:
        return Check(_NAME, "ok", f"{file.path} is made with the first secret")
    try:
        key = asyncio.run(_round_trip(settings))
    except InvalidRequest as error:
        return Check(_NAME, "note", "none: vaults can keep no secrets", error.message)
    except HecatonError as error:
        return Check(_NAME, "problem", error.message, "see docs/vaults.md, 'The master key'")
    return Check(_NAME, "ok", f"{key}, {'a key service' if settings.vaults.key_service else 'here'}")


async def _round_trip(settings: Settings) -> str:
    envelope = Envelope(master_keys(settings))
    _, wrapped = await envelope.new_key(_PLACE)
    await envelope.key_of(_PLACE, wrapped)
    return wrapped.master_key
