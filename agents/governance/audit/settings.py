"""Settings of the audit trail: the section ``audit``."""

from __future__ import annotations

from pydantic import Field, SecretStr, field_validator

from agents.settings_base import Section


class AuditSettings(Section):
    """The audit trail; see docs/audit.md."""

    seal_seconds: float = Field(default=60.0, gt=0, le=3600)
    """How often the heads of the session logs that have grown go into the chain of the trail. What somebody with access
    to the database does to the newest events of a session is found from its next seal on."""
    keep_days: float | None = Field(default=None, gt=0)
    """Entries of the trail older than this are deleted, in whole ranges, and an entry says which. Unset: never. Logs of
    sessions are not touched, nor what concerns a session under legal hold."""
    signing_key: SecretStr | None = None
    """Ed25519 private key (32 bytes, as 64 hexadecimal digits) that signs what ``hecaton audit head`` prints. Unset, it
    is not signed."""

    @field_validator("signing_key")
    @classmethod
    def _is_key(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None:
            from agents.governance.audit.checkpoint import signing_key  # every process reads settings, one needs this

            signing_key(key.get_secret_value())
        return key
