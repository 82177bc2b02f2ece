"""What an environment is: creating and changing its resolved body (spec A.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from anthropic.types.beta import EnvironmentCreateParams, EnvironmentUpdateParams

from agents.catalog import limits, metadata
from agents.catalog.domains import check_hosts
from agents.clock import rfc3339
from agents.errors import InvalidRequest
from agents.store.ports import EnvironmentRecord

PACKAGE_MANAGERS = ("apt", "cargo", "gem", "go", "npm", "pip")
_EXAMPLES = {
    "apt": "ffmpeg",
    "cargo": "ripgrep@14.1.0",
    "gem": "rake:13.2.1",
    "go": "example.com/tool@v1.2.3",
    "npm": "left-pad@1.3.0",
    "pip": "requests==2.32.3",
}
_UNRESTRICTED: dict[str, Any] = {"type": "unrestricted"}
_LIMITED: dict[str, Any] = {
    "type": "limited",
    "allowed_hosts": [],
    "allow_mcp_servers": False,
    "allow_package_managers": False,
}


def environment_body(params: EnvironmentCreateParams) -> dict[str, Any]:
    """Return the resolved body of a new environment. Raises InvalidRequest."""
    return {
        "config": _config(params.get("config"), stored=None),
        "description": params.get("description"),
        "metadata": metadata.checked(params.get("metadata", {})),
        "scope": _scope(params.get("scope")),
    }


def updated_environment_body(stored: Mapping[str, Any], params: EnvironmentUpdateParams) -> dict[str, Any]:
    """Return *stored* with a change applied; omitted and null parts of the config stay. Raises InvalidRequest."""
    body = dict(stored)
    if "description" in params:
        body["description"] = params["description"]
    if params.get("config") is not None:
        body["config"] = _config(params.get("config"), stored=stored["config"])
    if "metadata" in params:
        body["metadata"] = metadata.merged(stored["metadata"], params["metadata"], empty_deletes=True)
    if params.get("scope") is not None:
        body["scope"] = _scope(params.get("scope"))
    return body


def checked_name(name: str) -> str:
    """Return an environment's name; raises InvalidRequest when it is empty or too long."""
    limits.check_length("name", name, limits.NAME_CHARS, shortest=1)
    return name


def environment_wire(environment: EnvironmentRecord) -> dict[str, Any]:
    """Return the ``environment`` resource."""
    return {
        "id": environment.id,
        "type": "environment",
        "name": environment.name,
        **environment.body,
        "created_at": rfc3339(environment.created_at),
        "updated_at": rfc3339(environment.updated_at),
        "archived_at": rfc3339(environment.archived_at) if environment.archived_at else None,
    }


def check_not_archived(environment: EnvironmentRecord) -> None:
    """Raise InvalidRequest (``environment_archived``) when the environment is archived."""
    if environment.archived_at is not None:
        raise InvalidRequest(f"environment {environment.id} is archived", error_code="environment_archived")


def _scope(scope: str | None) -> str:
    if scope == "account":
        raise InvalidRequest("scope: must be organization; this server has no accounts inside its organization")
    return "organization"


def _config(given: object, *, stored: Mapping[str, Any] | None) -> dict[str, Any]:
    config = cast("Mapping[str, Any]", given or {"type": "cloud"})
    if stored is not None and config["type"] != stored["type"]:
        raise InvalidRequest(
            f"config.type: cannot change from {stored['type']} to {config['type']}; create another environment",
            error_code="invalid_config_type_change",
        )
    if config["type"] == "self_hosted":
        return {"type": "self_hosted"}
    networking = _networking(config.get("networking"), stored["networking"] if stored else None)
    packages = _packages(config.get("packages"), stored["packages"] if stored else None)
    _check_packages(networking, packages)
    return {"type": "cloud", "networking": networking, "packages": packages}


def _networking(given: Mapping[str, Any] | None, stored: Mapping[str, Any] | None) -> dict[str, Any]:
    if given is None:
        return dict(stored or _UNRESTRICTED)
    if given["type"] == "unrestricted":
        return dict(_UNRESTRICTED)
    base = stored if stored is not None and stored["type"] == "limited" else _LIMITED
    resolved = {key: base[key] if given.get(key) is None else given[key] for key in _LIMITED}
    check_hosts("config.networking.allowed_hosts", resolved["allowed_hosts"])
    return resolved


def _packages(given: Mapping[str, Any] | None, stored: Mapping[str, Any] | None) -> dict[str, Any]:
    base = stored or {manager: [] for manager in PACKAGE_MANAGERS}
    given = given or {}
    chosen = {manager: base[manager] if given.get(manager) is None else given[manager] for manager in PACKAGE_MANAGERS}
    return {"type": given.get("type", "packages"), **chosen}


def _check_packages(networking: Mapping[str, Any], packages: Mapping[str, Any]) -> None:
    wanted = [manager for manager in PACKAGE_MANAGERS if packages[manager]]
    if not wanted:
        return
    if networking["type"] == "limited" and not networking["allow_package_managers"]:
        raise InvalidRequest("config.networking.allow_package_managers: must be true when packages are given")
    for manager in wanted:
        names: Sequence[str] = packages[manager]
        limits.check_count(f"config.packages.{manager}", names, limits.PACKAGES)
        for index, name in enumerate(names):
            where = f"config.packages.{manager}[{index}]"
            limits.check_length(where, name, limits.PACKAGE_CHARS, shortest=1)
            # An option of the package manager would do something else than install a package.
            if name.startswith("-") or not (name.isascii() and name.isprintable()):
                raise InvalidRequest(f"{where}: {name[:80]!r} is not a package; write it as {_EXAMPLES[manager]}")
