"""Every call and every event type that the official SDK has, read from the SDK itself.

Left out are the calls about an organization, its tunnels and user profiles: they are no part of a workspace.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args, get_origin

from anthropic.resources.beta.beta import AsyncBeta
from anthropic.types.beta.sessions import BetaManagedAgentsStreamSessionEvents

OUTSIDE = frozenset({"organization", "tunnels", "user_profiles"})
_ROUTE = re.compile(r'self\._(get_api_list|get|post|delete)\(\s*(?:path_template\()?\s*"(/v1[^"?]*)')
_VERBS = {"get_api_list": "GET"}


@dataclass(frozen=True, slots=True)
class SdkCall:
    """One method of the SDK; ``route`` is its verb and path, None for a helper that makes several requests or none."""

    name: str
    route: tuple[str, str] | None


@cache
def sdk_calls() -> dict[str, SdkCall]:
    """Every call below ``client.beta`` by its name, such as ``sessions.events.send``.

    Of several methods that make the same request the first has the route: the others are helpers over it.
    """
    found: dict[str, SdkCall] = {}
    for each in _calls(AsyncBeta, ()):
        known = each.route in {other.route for other in found.values()}
        found[each.name] = SdkCall(each.name, None) if known else each
    return found


def _calls(resource: Any, above: tuple[str, ...]) -> Iterator[SdkCall]:
    for name, member in vars(resource).items():
        if name.startswith(("_", "with_")) or (*above, name)[0] in OUTSIDE:
            continue
        getter = getattr(member, "func", None)  # a cached property: a resource below this one
        if getter is not None:
            below = getter.__annotations__["return"]
            yield from _calls(getattr(inspect.getmodule(resource), below), (*above, name))
        elif inspect.isfunction(member):
            yield SdkCall(".".join((*above, name)), _route(member))


def _route(method: Any) -> tuple[str, str] | None:
    found = _ROUTE.search(inspect.getsource(method))
    return None if found is None else (_VERBS.get(found[1], found[1].upper()), found[2])


def event_types() -> list[str]:
    """Every type of the union that a session's stream has, previews included."""
    union = BetaManagedAgentsStreamSessionEvents
    members: Any = get_args(union)[0] if get_origin(union) is not None and hasattr(union, "__metadata__") else union
    return [kind for member in get_args(members) for kind in get_args(member.model_fields["type"].annotation)]
