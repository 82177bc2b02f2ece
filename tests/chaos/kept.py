"""What sessions have left beside their logs, read by the API when all is over."""

from __future__ import annotations

from typing import Any

from tests.chaos.api import Api
from tests.chaos.record import Json, Run, Visit

_PAGE = 1000
_MEMORIES = 20


async def read_kept(api: Api, visit: Visit) -> None:
    """Read outputs, memories and threads of a session of a kind that has such."""
    if visit.kind == "mounted":
        visit.outputs = await api.get("read outputs", visit.session_id, lambda: _outputs(api, visit.session_id))
        visit.memories, visit.versions = await api.get(
            "read memories", visit.session_id, lambda: _memories(api, visit.store_id)
        )
    if visit.kind == "team":
        visit.threads = await api.get("read threads", visit.session_id, lambda: _threads(api, visit.session_id))


async def read_fires(api: Api, run: Run, deployment: str) -> None:
    """Read the runs of the deployment, and its sessions."""
    beta = api.client.beta

    async def fires() -> list[Json]:
        return [each.to_dict(mode="json") async for each in beta.deployment_runs.list(deployment_id=deployment)]

    async def fired() -> list[str]:
        # By what each says of itself: what the list by deployment leaves out is looked for.
        return [each.id async for each in beta.sessions.list(limit=100) if each.deployment_id == deployment]

    async def listed() -> list[str]:
        return [each.id async for each in beta.sessions.list(deployment_id=deployment)]

    run.asked = api.runs_asked
    run.fires = await api.get("list runs", "", fires)
    run.fired = await api.get("list sessions", "", fired)
    run.listed = await api.get("list the deployment's sessions", "", listed)


async def _outputs(api: Api, session_id: str) -> list[tuple[str, str]]:
    files, found = api.client.beta.files, list[tuple[str, str]]()
    async for file in files.list(scope_id=session_id):
        if file.downloadable:
            content = await (await files.download(file.id)).read()
            found.append((file.filename, content.decode(errors="replace")))
    return found


async def _memories(api: Api, store_id: str) -> tuple[dict[str, str], list[str]]:
    stores = api.client.beta.memory_stores
    listed: Any = stores.memories.list(store_id, view="full", limit=_MEMORIES)
    found = {each.path: each.content or "" async for each in listed if each.type == "memory"}
    return found, [each.path or "" async for each in stores.memory_versions.list(store_id)]


async def _threads(api: Api, session_id: str) -> dict[str, list[Json]]:
    threads, found = api.client.beta.sessions.threads, dict[str, list[Json]]()
    async for thread in threads.list(session_id):
        if thread.parent_thread_id is not None:
            page = threads.events.list(thread.id, session_id=session_id, limit=_PAGE)
            found[thread.id] = [event.to_dict(mode="json") async for event in page]
    return found
