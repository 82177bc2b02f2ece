"""Which workspace an object belongs to, in memory."""

from __future__ import annotations

from agents.access.records import Owned
from agents.errors import NotFound
from agents.ids import SessionId
from agents.store.memory_agent_memory import MemoryAgentMemory
from agents.store.memory_catalog import MemoryAgents, MemoryEnvironments, MemorySessions
from agents.store.memory_deployments import MemoryDeployments
from agents.store.memory_files import MemoryFiles
from agents.store.memory_skills import MemorySkills
from agents.store.memory_vaults import MemoryVaults


class MemoryOwners:
    """The Owners of one process."""

    def __init__(
        self,
        agents: MemoryAgents,
        environments: MemoryEnvironments,
        sessions: MemorySessions,
        vaults: MemoryVaults,
        memory: MemoryAgentMemory,
        files: MemoryFiles,
        skills: MemorySkills,
        deployments: MemoryDeployments,
    ) -> None:
        self._agents = agents
        self._environments = environments
        self._sessions = sessions
        self._vaults = vaults
        self._memory = memory
        self._files = files
        self._skills = skills
        self._deployments = deployments

    async def workspace_of(self, kind: Owned, object_id: str) -> str | None:
        """See Owners.workspace_of."""
        try:
            match kind:
                case "agent":
                    return (await self._agents.get(object_id)).workspace_id
                case "environment":
                    return (await self._environments.get(object_id)).workspace_id
                case "session":
                    return (await self._sessions.get(SessionId(object_id))).workspace_id
                case "vault":
                    return (await self._vaults.get(object_id)).workspace_id
                case "memory_store":
                    return (await self._memory.get(object_id)).workspace_id
                case "file":
                    return (await self._files.get(object_id)).workspace_id
                case "skill":
                    return (await self._skills.get(object_id)).workspace_id
                case "deployment":
                    return (await self._deployments.get(object_id)).workspace_id
                case "deployment_run":
                    return (await self._deployments.get_run(object_id)).workspace_id
        except NotFound:
            return None
