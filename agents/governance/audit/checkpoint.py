"""Checkpoints: the trail's newest link, to be kept by somebody else, signed where there is a key."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_KEY = re.compile(r"[0-9a-fA-F]{64}")
_PLACE = re.compile(r"(?:(\d{1,18}):)?([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A place in the trail: whoever keeps it can tell later whether anything up to there was changed."""

    seq: int
    hash: str
    at: str

    def text(self) -> bytes:
        """Return what is signed."""
        return f"hecaton audit checkpoint\n{self.seq}\n{self.hash}\n{self.at}\n".encode()


def signing_key(text: str) -> Ed25519PrivateKey:
    """Return the private key of 64 hexadecimal digits. Raises ValueError, without showing them."""
    if not _KEY.fullmatch(text):
        raise ValueError("must be 64 hexadecimal digits: an Ed25519 private key of 32 bytes")
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(text))


def sign(checkpoint: Checkpoint, key: Ed25519PrivateKey) -> tuple[str, str]:
    """Return the signature and the public key, both hexadecimal."""
    return key.sign(checkpoint.text()).hex(), key.public_key().public_bytes_raw().hex()


def is_signed(checkpoint: Checkpoint, signature: str, public_key: str) -> bool:
    """Whether the owner of this key signed this checkpoint."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(
            bytes.fromhex(signature), checkpoint.text()
        )
    except (InvalidSignature, ValueError):
        return False
    return True


def place_of(head: str) -> tuple[int | None, str]:
    """Return the position, if it is said, and the hash of ``HASH`` or ``SEQ:HASH``. Raises ValueError."""
    found = _PLACE.fullmatch(head.strip())
    if found is None:
        raise ValueError("must be the hash of an entry (64 hexadecimal digits), or SEQ:HASH")
    return (int(found[1]) if found[1] else None), found[2]
