"""What all sessions of a run share: agents, environments, a file, a skill, a deployment, a webhook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.chaos.api import Api
from tests.chaos.plan import KINDS
from tests.chaos.record import Json
from tests.chaos.resource_plan import GIVEN, HELPER, SKILL, SKILL_NAME
from tests.chaos.script import HAND

MODEL = "claude-sonnet-5-5"
BEGINNING = "chaos-deployed by the deployment turn 0"
"""The message with which every session of the deployment begins."""
TOLD = ("session.created", "session.status_idled")
"""What the webhook is told."""
_WEATHER: Json = {
    "type": "custom",
    "name": "weather",
    "description": "Tells the weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
_TOOLSET: Json = {"type": "agent_toolset_20260401"}
_ASKING: Json = {**_TOOLSET, "configs": [{"name": "bash", "permission_policy": {"type": "always_ask"}}]}
_SERVED: Json = {
    "type": "mcp_toolset",
    "mcp_server_name": HAND,
    "default_config": {"permission_policy": {"type": "always_allow"}},
}
_SERVERS: dict[str, list[Json]] = {"served": [{"type": "url", "name": HAND, "url": f"hand://{HAND}"}]}
_TOOLS: dict[str, list[Json]] = {"ask": [_ASKING], "custom": [_TOOLSET, _WEATHER], "served": [_SERVED], "team": []}
"""What is not the toolset alone."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Agents by kind, an environment here and one whose tools run at a worker, and what else sessions are given."""

    agents: dict[str, str]
    environment: str
    elsewhere: str
    key: str
    """With which the worker serves its environment."""
    file: str
    repository: str
    """Its URL."""
    deployment: str


async def set_scene(api: Api, seed: int, hook: str, repository: str) -> Scene:
    """Make everything; commands may reach the outside world, *hook* is told what happens, *repository* is copied."""
    beta = api.client.beta
    config: Any = {"type": "cloud", "networking": {"type": "unrestricted"}}
    here = await beta.environments.create(name=f"chaos-{seed}", config=config)
    elsewhere = await beta.environments.create(name=f"worker-{seed}", config={"type": "self_hosted"})
    made: Any = await api.client.post(f"/v1/environments/{elsewhere.id}/keys", body={"name": "worker"}, cast_to=object)
    await api.client.post("/-/webhooks", body={"url": hook, "events": list(TOLD)}, cast_to=object)
    file = await beta.files.upload(file=("given.txt", GIVEN.encode(), "text/plain"))
    more = {kind: {"tools": _TOOLS.get(kind, [_TOOLSET]), "mcp_servers": _SERVERS.get(kind, [])} for kind in KINDS}
    await _add_skill(api, more["mounted"])
    await _add_roster(api, more["team"])
    agents: dict[str, str] = {}
    for kind, given in more.items():
        params: Any = given
        agents[kind] = (await beta.agents.create(name=f"chaos-{kind}", model=MODEL, **params)).id
    message: Any = {"type": "user.message", "content": [{"type": "text", "text": BEGINNING}]}
    deployment = await beta.deployments.create(
        name="chaos", agent=agents["deployed"], environment_id=here.id, initial_events=[message]
    )
    return Scene(agents, here.id, elsewhere.id, made["key"], file.id, repository, deployment.id)


async def _add_skill(api: Api, agent: Json) -> None:
    skill = await api.client.beta.skills.create(files=[(f"{SKILL_NAME}/SKILL.md", SKILL.encode())])
    agent["skills"] = [{"type": "custom", "skill_id": skill.id, "version": "latest"}]


async def _add_roster(api: Api, agent: Json) -> None:
    tools: Any = [_TOOLSET]
    helper = await api.client.beta.agents.create(name=HELPER, model=MODEL, tools=tools)
    agent["multiagent"] = {"type": "coordinator", "agents": [helper.id]}
