"""What a sandbox knows of a secret: a variable with a random text in its place (spec A.8).

Invariant: a secret goes only to hosts that may have it, only over TLS, and only where the credential lets it be put;
what comes back from there has the random text in its place again. Every secret here is a SecretStr until then.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from agents.hands.egress.host_rules import HostRule, host_rules
from agents.hands.egress.replacer import Replacer
from agents.vaults.port import EnvironmentCredential
from agents.vaults.redaction import packed, spellings

_KEY_BYTES = 32
_SHORTEST_MASKED = 6
"""A shorter secret is in too many texts by chance to be masked in answers."""
_BASIC = b"basic "


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One credential as one sandbox sees it."""

    credential: EnvironmentCredential
    text: str
    """What the variable holds inside."""
    rules: tuple[HostRule, ...] | None

    def serves(self, host: str, port: int) -> bool:
        """Whether the secret may go to *host*."""
        return self.rules is None or any(rule.matches(host, port) for rule in self.rules)


def placeholder_key(path: Path) -> bytes:
    """Return the key that placeholders are made with, kept in the file *path*, so that they outlive a restart."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        key = path.read_bytes()
        # Empty for the moment in which another process of this machine writes it.
        return key if len(key) == _KEY_BYTES else os.urandom(_KEY_BYTES)
    with os.fdopen(fd, "wb") as file:
        key = os.urandom(_KEY_BYTES)
        file.write(key)
    return key


def placeholders_of(
    credentials: Sequence[EnvironmentCredential], session_id: str, key: bytes
) -> tuple[Placeholder, ...]:
    """Return what the sandboxes of a session see of *credentials*: the same each time, and nobody else's."""
    made: list[Placeholder] = []
    for credential in credentials:
        owner = f"{session_id}\0{credential.vault_id}\0{credential.credential_id}".encode()
        text = f"placeholder-{hmac.new(key, owner, hashlib.sha256).hexdigest()}"
        hosts = credential.allowed_hosts
        made.append(Placeholder(credential, text, None if hosts is None else host_rules(hosts)))
    return tuple(made)


class Substitution:
    """The secrets of one request, put in on the way there and taken out on the way back."""

    def __init__(self, placeholders: Sequence[Placeholder]) -> None:
        self._header = Replacer({p.text.encode(): _value(p) for p in placeholders if p.credential.in_header})
        body = {p.text.encode(): _value(p) for p in placeholders if p.credential.in_body}
        self.body = Replacer(body)
        """For the request's body."""
        self._shown = {p.text: p.credential.value for p in placeholders}
        self._encoded: dict[bytes, bytes] = {}

    def header(self, value: bytes) -> bytes:
        """Return a request header's value with the secrets in it, inside of ``Basic`` credentials too."""
        if value[: len(_BASIC)].lower() == _BASIC:
            try:
                plain = base64.b64decode(value[len(_BASIC) :].strip(), validate=True)
            except binascii.Error:
                return value
            given = self._header.whole(plain)
            if given == plain:
                return value
            before, after = value[len(_BASIC) :].strip(), base64.b64encode(given)
            self._encoded[after] = before
            return value[: len(_BASIC)] + after
        return self._header.whole(value)

    def mask(self) -> Replacer:
        """Return what takes the secrets out of the answer, in the forms in which servers repeat what they got."""
        table = dict(self._encoded)
        for text, secret in self._shown.items():
            value = secret.get_secret_value()
            if len(value) < _SHORTEST_MASKED:
                continue
            table |= {form.encode(): text.encode() for form in spellings(value)}
            table |= {form.encode(): shown.encode() for form, shown in zip(packed(value), packed(text), strict=True)}
        return Replacer(table)


def _value(placeholder: Placeholder) -> bytes:
    secret: SecretStr = placeholder.credential.value
    return secret.get_secret_value().encode()
