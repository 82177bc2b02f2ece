"""Making a running sandbox a session's: its way out, and the variables that stand for its secrets.

Invariant: a sandbox that nobody has claimed has no way out at all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from agents.errors import Unavailable
from agents.hands.egress.gate import Egress, Gate
from agents.hands.egress.placeholders import Placeholder, placeholders_of
from agents.hands.egress.policy import EgressPolicy, policy_of
from agents.hands.port import Workspace
from agents.hands.sandbox import Sandbox, SandboxUnavailable
from agents.hands.shell import ShellGone
from agents.vaults.port import Credentials

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TRUST = "etc/ssl/sandbox.pem"
"""In the system that sandboxes see: the public authorities, and the proxy's own."""
_TRUSTING = (
    "SSL_CERT_FILE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "REQUESTS_CA_BUNDLE", "PIP_CERT", "NODE_EXTRA_CA_CERTS",
    "CARGO_HTTP_CAINFO", "AWS_CA_BUNDLE", "DENO_CERT",
)  # fmt: skip


class Admission:
    """Opens sandboxes to the network as their sessions' environments say."""

    def __init__(self, egress: Egress, credentials: Credentials, key: bytes) -> None:
        """*key* makes the placeholders of secrets."""
        self.egress = egress
        self._credentials = credentials
        self._key = key

    async def admit(self, sandbox: Sandbox, workspace: Workspace) -> None:
        """Give a running sandbox its session's way out. Raises SandboxUnavailable, OSError."""
        try:
            await self._admit(sandbox, workspace)
        except (Unavailable, TimeoutError) as error:
            raise SandboxUnavailable(f"the credentials of this session cannot be read now: {error}") from error

    async def _admit(self, sandbox: Sandbox, workspace: Workspace) -> None:
        if sandbox.network_fd is None:
            return
        gate = Gate(self.egress, partial(self._secrets, workspace) if workspace.vault_ids else None)
        await gate.renew()
        gate.policy = self._policy(workspace)
        await gate.open(sandbox.network_fd)
        sandbox.gate = gate
        if gate.secrets:
            self._publish_authority(sandbox.dirs.system)
            await self._define(sandbox, gate.secrets)

    def renew(self, sandbox: Sandbox, workspace: Workspace) -> None:
        """Let a sandbox reach from now on what its session's environment says now."""
        if sandbox.gate is not None:
            sandbox.gate.policy = self._policy(workspace)

    @property
    def registries(self) -> Sequence[str]:
        """The hosts that package managers need, as far as the settings name them."""
        return self.egress.settings.registries

    def _policy(self, workspace: Workspace) -> EgressPolicy:
        return policy_of(workspace.environment, workspace.mcp_urls, self.registries)

    async def _secrets(self, workspace: Workspace) -> tuple[Placeholder, ...]:
        credentials = await self._credentials.for_environment(workspace.vault_ids)
        named = [each for each in credentials if _VARIABLE.fullmatch(each.secret_name)]
        return placeholders_of(named, workspace.session_id, self._key)

    def _publish_authority(self, system: Path) -> None:
        """Put the certificates to trust where every sandbox of this host sees them; the first time only."""
        bundle = system / _TRUST
        if bundle.exists():
            return
        made = bundle.with_suffix(".new")
        made.write_bytes(_public_authorities() + self.egress.authority.pem)
        made.chmod(0o644)
        made.rename(bundle)

    async def _define(self, sandbox: Sandbox, secrets: Sequence[Placeholder]) -> None:
        variables = dict.fromkeys(_TRUSTING, f"/{_TRUST}")
        variables |= {secret.credential.secret_name: secret.text for secret in secrets}
        try:
            await sandbox.shell.define(variables)
        except ShellGone as gone:
            raise SandboxUnavailable(f"the sandbox ended while it started: {gone}") from gone


def _public_authorities() -> bytes:
    """Return the certificates that this machine trusts, as PEM; empty when it has none."""
    import ssl

    files = ssl.get_default_verify_paths()
    for path in (files.cafile, files.openssl_cafile, "/etc/ssl/certs/ca-certificates.crt"):
        if path and Path(path).is_file():
            return Path(path).read_bytes().rstrip() + b"\n"
    return b""
