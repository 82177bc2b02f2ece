"""The official SDK's client for one Hecaton server, and the resources that commands make through it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import httpx2
from anthropic import Anthropic, APIConnectionError, AsyncAnthropic

from agents.commands.failures import CommandFailed
from agents.commands.platform import find_platform

if TYPE_CHECKING:
    from agents.config import Settings

_TIMEOUT = httpx2.Timeout(60.0, connect=5.0)
"""The server pings every 15 s; four missed pings mean that the stream is dead."""


def server_url(settings: Settings, url: str | None) -> str:
    """Return *url*, or where the platform of the data directory listens, or where one would."""
    if url:
        return url
    record = find_platform(settings)
    return record.url if record else f"http://{settings.host}:{settings.port}"


def connect(settings: Settings, url: str) -> Anthropic:
    """Return a client for *url*; the user's own ANTHROPIC_* variables (they mean the brain) play no part."""
    return Anthropic(base_url=url, api_key=_key(settings), timeout=_TIMEOUT)


def connect_async(settings: Settings, url: str) -> AsyncAnthropic:
    """Return the same client for an event loop."""
    return AsyncAnthropic(base_url=url, api_key=_key(settings), timeout=_TIMEOUT)


def _key(settings: Settings) -> str:
    return next((key.get_secret_value() for key in settings.principals.values()), "hecaton")


def open_client(settings: Settings, url: str | None) -> Anthropic:
    """Return a client for the server that *url* or the data directory names. Raises CommandFailed when none answers."""
    client = connect(settings, server_url(settings, url))
    require_server(client)
    return client


def require_server(client: Anthropic) -> None:
    """Raise CommandFailed, with what to do, unless a server answers."""
    try:
        client.with_options(max_retries=0).beta.agents.list(limit=1)
    except APIConnectionError as error:
        raise CommandFailed(
            f"no server answers at {client.base_url}: {error.__cause__ or error}\n"
            "Start one with 'hecaton up' in another terminal, or name another one with --url "
            "('hecaton run' can also start its own: --embedded)."
        ) from error


def ensure_environment(client: Anthropic, name: str) -> str:
    """Return the id of the environment *name*, made when it is not there."""
    for environment in client.beta.environments.list(limit=100):
        if environment.name == name:
            return environment.id
    networking: Any = {
        "type": "limited",
        "allowed_hosts": [],
        "allow_mcp_servers": False,
        "allow_package_managers": False,
    }
    return client.beta.environments.create(name=name, config={"type": "cloud", "networking": networking}).id


def ensure_agent(client: Anthropic, spec: Mapping[str, Any]) -> str:
    """Return the id of the agent that *spec* names, made or brought up to date; equal specs make no new version."""
    wanted = dict(spec)
    for agent in client.beta.agents.list(limit=100):
        if agent.name == wanted["name"]:
            return client.beta.agents.update(agent.id, **wanted).id
    return client.beta.agents.create(**wanted).id


def toolset(**policies: str) -> list[dict[str, Any]]:
    """Return the built-in toolset; *policies* gives single tools a permission policy (``edit="always_ask"``)."""
    configs = [{"name": name, "permission_policy": {"type": policy}} for name, policy in policies.items()]
    return [{"type": "agent_toolset_20260401", "default_config": {"enabled": True}, "configs": configs}]
