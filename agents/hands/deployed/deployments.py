"""Putting hands where they run: the port to what does that, and how declared and uploaded ones become versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from agents.clock import Clock
from agents.config import InvalidSettings, Settings
from agents.errors import HecatonError, InvalidRequest
from agents.governance.contracts import check_contract
from agents.hand_settings import HandDefinition, is_path
from agents.hands.deployed.records import HandRecords, HandVersion
from agents.hands.deployed.source import digest_of, pack, read_contract


@dataclass(frozen=True, slots=True)
class HandState:
    """How one version is: Serve's word for it, replicas that run, and why it does not serve, in one line."""

    state: str
    replicas: int
    message: str = ""


class HandDeployer(Protocol):
    """Something that runs hands. Every call raises Unavailable."""

    async def deploy(self, hand: HandVersion) -> None:
        """Run a version from now on, the way it is kept; returns before it serves."""
        ...

    async def end(self, hand: HandVersion) -> None:
        """Let a version's calls end, then run it no more; returns before that."""
        ...

    async def states(self) -> Mapping[str, HandState]:
        """Return how versions are, by id, as far as is known."""
        ...


class NotDeploying:
    """The HandDeployer where whoever calls a hand runs it, too."""

    async def deploy(self, hand: HandVersion) -> None:
        """See HandDeployer.deploy."""

    async def end(self, hand: HandVersion) -> None:
        """See HandDeployer.end."""

    async def states(self) -> Mapping[str, HandState]:
        """See HandDeployer.states."""
        return {}


async def declare(settings: Settings, records: HandRecords, clock: Clock) -> None:
    """Keep the versions that the settings declare. Raises InvalidSettings, with a line for each fault; Unavailable."""
    faults: list[str] = []
    for name, definition in settings.hands.items():
        try:
            contract = read_contract(definition)
            packed, archive = pack(definition)
            await keep(records, clock, name, packed, archive, contract)
        except HecatonError as error:
            if error.retriable:
                raise
            faults.append(f"hands.{name}: {error.message}")
    if faults:
        raise InvalidSettings("\n".join(faults))


async def keep(
    records: HandRecords, clock: Clock, name: str, definition: HandDefinition, archive: bytes | None, contract: str
) -> HandVersion:
    """Keep a version, of which *definition* names a module.

    Raises InvalidRequest, InvalidContract, Conflict, PayloadTooLarge.
    """
    if is_path(definition.server) or definition.working_dir is not None or definition.contract is not None:
        raise InvalidRequest("server: must name a module, as 'crm:server', in what is sent as source")
    source = "" if archive is None else digest_of(archive)
    hand = HandVersion(name, definition, source, contract, created_at=clock.now())
    check_contract(hand)
    return await records.add(hand, archive)
