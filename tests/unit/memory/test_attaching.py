"""Memory stores as resources of sessions (spec A.7, C.5)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agents.catalog.resources import ResourceOwner, mounts_of, resource_wire
from agents.clock import ManualClock
from agents.errors import InvalidRequest, NotFound
from agents.hands.port import Mount
from agents.memory.attaching import MemoryStoreResources, access_to, mount_path, note_on
from agents.memory.records import MemoryStoreRecord
from agents.store.memory_agent_memory import MemoryAgentMemory

NOW = ManualClock().now()
OWNER = ResourceOwner("sesn_1", "mine", "", self_hosted=True, now=NOW)
GIVEN = {"type": "memory_store", "memory_store_id": "memstore_1"}


@pytest.fixture
async def memory() -> MemoryAgentMemory:
    memory = MemoryAgentMemory()
    body = {"name": "User Préférences", "description": "What <she> likes.", "metadata": {}}
    await memory.insert(MemoryStoreRecord("memstore_1", body, NOW, NOW, workspace_id="mine"))
    return memory


async def test_a_store_is_kept_as_it_was_when_the_session_was_made(memory: MemoryAgentMemory) -> None:
    kept = await MemoryStoreResources(memory).attach("resources[0]", GIVEN, OWNER)
    assert resource_wire(kept) == {
        **GIVEN,
        "access": "read_write",
        "name": "User Préférences",
        "description": "What <she> likes.",
        "instructions": None,
        "mount_path": "/mnt/memory/user-pr-f-rences",
    }
    assert mounts_of([kept]) == (
        Mount("memory", "memstore_1", "/mnt/memory/user-pr-f-rences", False, "User Préférences"),
    )


async def test_who_only_reads_gets_a_mount_that_is_only_read(memory: MemoryAgentMemory) -> None:
    given = {**GIVEN, "access": "read_only", "instructions": "Trust it."}
    kept = await MemoryStoreResources(memory).attach("resources[0]", given, OWNER)
    assert mounts_of([kept])[0].read_only
    assert access_to([kept], "memstore_1") == "read_only" and access_to([kept], "memstore_2") is None
    told = note_on([kept])
    assert told is not None and "<instructions>Trust it.</instructions>" in told and "What &lt;she&gt; likes." in told
    assert "<path>/mnt/memory/user-pr-f-rences</path>\n<access>read_only</access>" in told
    assert note_on([]) is None


@pytest.mark.parametrize(
    ("given", "owner", "error"),
    [
        ({**GIVEN, "memory_store_id": "memstore_2"}, OWNER, NotFound),
        (GIVEN, replace(OWNER, workspace_id="other"), NotFound),
        ({**GIVEN, "instructions": "x" * 4097}, OWNER, InvalidRequest),
    ],
)
async def test_what_cannot_be_attached_is_refused(
    memory: MemoryAgentMemory, given: dict[str, Any], owner: ResourceOwner, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await MemoryStoreResources(memory).attach("resources[0]", given, owner)


async def test_an_archived_store_is_not_attached(memory: MemoryAgentMemory) -> None:
    await memory.archive("memstore_1", NOW)
    with pytest.raises(InvalidRequest, match="archived"):
        await MemoryStoreResources(memory).attach("resources[0]", GIVEN, OWNER)


@pytest.mark.parametrize(("name", "slug"), [("a", "a"), ("A  b!", "a-b-"), ("記憶", "-"), ("x/../y", "x-y")])
def test_a_directory_is_named_after_its_store(name: str, slug: str) -> None:
    assert mount_path(name) == f"/mnt/memory/{slug}"
