"""Resources of a deployment: what each of its sessions is to have, as it was asked for (spec A.11).

What a deployment's body keeps of one is a plain dict:

    {"wire": {...}, "id": "sesrsc_...", "key": [master key, text], "fields": {"authorization_token": ciphertext}}

``wire`` is what was given less its token, and all that the API shows; the rest is there only where a token was given.
Invariant: no token is in it in clear; its ciphertext is bound to the deployment and to ``id``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import SecretStr

from agents.catalog.resources import ResourceOwner, Resources, new_resource_id
from agents.ids import new_session_id
from agents.vaults.envelope import Envelope, Place
from agents.vaults.resource_tokens import Kept, kept_token, sealed_in
from agents.vaults.secrets import sealed_anew

TOKEN = "authorization_token"  # noqa: S105 - the field's name


class DeploymentResources:
    """Takes what deployments ask for, and gives it to their sessions."""

    def __init__(self, kinds: Resources, envelope: Envelope) -> None:
        self._kinds = kinds
        self._envelope = envelope

    async def kept(self, deployment_id: str, given: Sequence[Mapping[str, Any]], owner: ResourceOwner) -> list[Kept]:
        """Return what is kept of *given*, after all the checks that a session of *owner*'s would make.

        To check them they are attached to a session that is never made, and given up again: so a deployment takes
        just what its sessions do. Raises as attaching does.
        """
        tried = await self._kinds.attach_all(given, replace(owner, session_id=new_session_id()))
        await self._kinds.detach_all(tried)
        return [await self._kept(deployment_id, each) for each in given]

    async def given(self, deployment_id: str, kept: Sequence[Kept]) -> list[dict[str, Any]]:
        """Return what was asked for, tokens included. Raises Unavailable."""
        return [await self._given(deployment_id, each) for each in kept]

    async def _kept(self, deployment_id: str, given: Mapping[str, Any]) -> Kept:
        wire = {name: value for name, value in given.items() if name != TOKEN and value is not None}
        if not given.get(TOKEN):
            return {"wire": wire}
        place = Place(deployment_id, new_resource_id())
        sealed = await sealed_anew(self._envelope, place, {TOKEN: SecretStr(given[TOKEN])})
        return {"wire": wire, "id": place.credential_id, **kept_token(sealed)}

    async def _given(self, deployment_id: str, kept: Kept) -> dict[str, Any]:
        if "key" not in kept:
            return dict(kept["wire"])
        sealed = sealed_in(kept)
        key = await self._envelope.key_of(Place(deployment_id, kept["id"]), sealed.key)
        return {**kept["wire"], TOKEN: key.open(TOKEN, sealed.fields[TOKEN]).get_secret_value()}


def shown(kept: Sequence[Kept]) -> list[dict[str, Any]]:
    """Return the resources as the API shows them."""
    return [each["wire"] for each in kept]


def without_tokens(kept: Sequence[Kept]) -> list[Kept]:
    """Return the resources of a deployment that is over."""
    return [{"wire": each["wire"]} for each in kept]


def same_but_for_keys(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two bodies of a deployment differ at most in what their tokens' keys are wrapped by."""
    return _without_keys(one) == _without_keys(other)


def _without_keys(body: Mapping[str, Any]) -> dict[str, Any]:
    return {**body, "resources": [{**each, "key": None} for each in body.get("resources", ())]}
