"""Random valid requests over all resources, held to a small model (``api_model.py``) of what is answered and kept.

The platform in memory, and the same over SQLite. Examples are derandomised, so that a failure comes back.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from agents.config import Settings
from agents.ids import SessionId
from agents.store.database import open_store
from tests.conformance.api_model import KINDS, WITHOUT_ARCHIVE, Json, World, in_the_way, merged, sha256, without_times
from tests.conformance.memory_platform import memory_platform
from tests.conformance.requirements import requirement
from tests.conformance.scene import MODEL, message

T = TypeVar("T")
which = st.integers(0, 1000)
names = st.sampled_from(["one", "two", "three"])
bags = st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["x", "y"]), max_size=2)
patches = st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["x", None]), max_size=2)
paths = st.sampled_from(["/a", "/a/b", "/b", "/c/d", "/c/e"])
contents = st.sampled_from(["", "one", "two"])
updatable = st.sampled_from(["agents", "environments", "vaults", "memory_stores", "sessions", "deployments"])
NAMED = {"vaults": "display_name", "sessions": "title"}
OVER = 10.0
KEY = {"x-api-key": "operator"}


class ApiMachine(RuleBasedStateMachine):
    """One server and the model of it."""

    loop: asyncio.AbstractEventLoop
    on_disk = False

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._serial = 0
        self.world = World()
        self.run(self._start())

    async def _start(self) -> None:
        place = Path(self._folder.name)
        self._store = await open_store(place / "hecaton.db") if self.on_disk else None
        self._platform = await memory_platform(Settings(data_dir=place, api_key="operator"), self._store)
        transport = httpx.ASGITransport(self._platform.app)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://api", headers=KEY)

    def teardown(self) -> None:
        async def stop() -> None:
            await self._client.aclose()
            await self._platform.harness.stop()
            if self._store is not None:
                await self._store.close()

        self.run(stop())
        self._folder.cleanup()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(work, OVER))

    def ask(self, method: str, path: str, status: int = 200, **more: Any) -> Json:
        answer = self.run(self._client.request(method, f"/v1/{path}", **more))
        assert answer.status_code == status, f"{method} {path} {more}: {answer.status_code} {answer.text}"
        return answer.json()

    def unique(self, word: str) -> str:
        self._serial += 1
        return f"{word}-{self._serial}"

    def keep(self, kind: str, made: Json) -> Json:
        self.world.there[kind][made["id"]] = made
        assert without_times(self.ask("GET", f"{kind}/{made['id']}")) == without_times(made)
        return made

    def changed(self, kind: str, before: Json, after: Json, **change: Any) -> None:
        """An answer is what there was, and the change."""
        assert without_times(after) == {**without_times(before), **change}
        self.keep(kind, after)

    def drop(self, kind: str, id: str) -> None:
        del self.world.there[kind][id]
        self.world.gone.append(f"{kind}/{id}")

    @initialize()
    def begin(self) -> None:
        for _ in range(2):
            self.make_agent("one", {})
            self.make_environment("one", False)
            self.make_vault("one", {"a": "x"})
            self.make_memory_store("one", {})
        for number in (0, 1):
            self.make_session(number, "one")
            self.make_deployment(number, "one")

    # -- all kinds -----------------------------------------------------------------------------------------------

    @rule(kind=st.sampled_from(KINDS), archived=st.booleans(), limit=st.integers(1, 5))
    def list(self, kind: str, archived: bool, limit: int) -> None:
        params: Json = {"limit": limit}
        if archived and kind not in WITHOUT_ARCHIVE:
            params["include_archived"] = True
        found: list[str] = []
        page = self.ask("GET", kind, params=params)
        while True:
            assert len(page["data"]) <= limit
            for each in page["data"]:
                assert without_times(each) == without_times(self.world.there[kind][each["id"]])
                found.append(each["id"])
            if page["next_page"] is None:
                break
            page = self.ask("GET", kind, params={**params, "page": page["next_page"]})
        assert found == self.world.listed(kind, archived)

    @rule(number=which)
    def ask_for_what_is_gone(self, number: int) -> None:
        if self.world.gone:
            self.ask("GET", self.world.gone[number % len(self.world.gone)], 404)

    @rule(kind=updatable, number=which, name=names, patch=patches)
    def update(self, kind: str, number: int, name: str, patch: dict[str, str | None]) -> None:
        before = self.world.pick(kind, number)
        if before is None:
            return
        named = NAMED.get(kind, "name")
        name = self.unique(name)
        if before["archived_at"] is not None:
            self.ask("POST", f"{kind}/{before['id']}", 409 if kind == "sessions" else 400, json={named: name})
            return
        after = self.ask("POST", f"{kind}/{before['id']}", json={named: name, "metadata": patch})
        change: Json = {named: name, "metadata": merged(before["metadata"], patch)}
        if kind == "agents":
            change["version"] = before["version"] + 1
            self.world.versions[before["id"]].append(after)
        self.changed(kind, before, after, **change)

    @rule(kind=updatable, number=which)
    def archive(self, kind: str, number: int) -> None:
        before = self.world.pick(kind, number)
        if before is None:
            return
        after = self.ask("POST", f"{kind}/{before['id']}/archive")
        assert after["archived_at"] is not None
        if before["archived_at"] is not None:
            assert after["archived_at"] == before["archived_at"]
        change: Json = {"archived_at": after["archived_at"]}
        if kind == "sessions":
            change |= {"status": "terminated"}
        if kind == "deployments":
            change |= {name: after[name] for name in ("schedule", "status", "paused_reason")}
        self.changed(kind, before, after, **change)
        if kind == "vaults":
            for credential in self.world.credentials[before["id"]].values():
                credential["archived_at"] = credential["archived_at"] or after["archived_at"]

    @rule(kind=st.sampled_from(["vaults", "memory_stores", "sessions", "files", "skills"]), number=which)
    def delete(self, kind: str, number: int) -> None:
        one = self.world.pick(kind, number)
        if one is not None:
            assert self.ask("DELETE", f"{kind}/{one['id']}")["id"] == one["id"]
            self.drop(kind, one["id"])

    # -- agents, environments, sessions, deployments -------------------------------------------------------------

    @rule(name=names, metadata=bags)
    def make_agent(self, name: str, metadata: dict[str, str]) -> None:
        made = self.ask("POST", "agents", json={"name": name, "model": MODEL, "metadata": metadata})
        assert (made["name"], made["metadata"], made["version"], made["archived_at"]) == (name, metadata, 1, None)
        self.world.versions[made["id"]] = [self.keep("agents", made)]

    @rule(number=which)
    def change_nothing_and_read_all_versions(self, number: int) -> None:
        agent = self.world.pick("agents", number)
        if agent is None:
            return
        id, versions = agent["id"], self.world.versions[agent["id"]]
        if agent["archived_at"] is None:
            assert self.ask("POST", f"agents/{id}", json={"name": agent["name"]})["version"] == len(versions)
            self.ask("POST", f"agents/{id}", 409, json={"version": len(versions) + 1, "name": "x"})
        shown = self.ask("GET", f"agents/{id}/versions", params={"limit": 100})["data"]
        assert [each["version"] for each in shown] == [*range(len(versions), 0, -1)]
        assert [each["name"] for each in shown] == [each["name"] for each in reversed(versions)]
        self.ask("GET", f"agents/{id}", 404, params={"version": len(versions) + 1})

    @rule(name=names, again=st.booleans())
    def make_environment(self, name: str, again: bool) -> None:
        taken = {each["name"] for each in self.world.there["environments"].values() if each["archived_at"] is None}
        if again and taken:
            self.ask("POST", "environments", 409, json={"name": min(taken)})
            return
        self.keep("environments", self.ask("POST", "environments", json={"name": self.unique(name)}))

    @rule(number=which)
    def delete_environment(self, number: int) -> None:
        place = self.world.pick("environments", number)
        if place is None:
            return
        users = [each for each in self.world.there["sessions"].values() if each["environment_id"] == place["id"]]
        if users:
            self.ask("DELETE", f"environments/{place['id']}", 409)
            return
        self.ask("DELETE", f"environments/{place['id']}")
        self.drop("environments", place["id"])

    def _parts(self, number: int) -> tuple[Json, Json, bool] | None:
        agent, place = self.world.pick("agents", number), self.world.pick("environments", number // 3)
        if agent is None or place is None:
            return None
        return agent, place, agent["archived_at"] is None and place["archived_at"] is None

    @rule(number=which, title=names)
    def make_session(self, number: int, title: str) -> None:
        if (parts := self._parts(number)) is None:
            return
        agent, place, open_ = parts
        body = {"agent": agent["id"], "environment_id": place["id"], "title": title}
        made = self.ask("POST", "sessions", 200 if open_ else 400, json=body)
        if open_:
            assert (made["status"], made["title"], made["agent"]["version"]) == ("idle", title, agent["version"])
            self.keep("sessions", made)
            self.world.turns[made["id"]] = 0

    @rule(number=which)
    def say_more(self, number: int) -> None:
        self.talk(number)

    @rule(number=which)
    def talk(self, number: int) -> None:
        session = self.world.pick("sessions", number)
        if session is None:
            return
        id, events = session["id"], f"sessions/{session['id']}/events"
        body = {"events": [message("hi")]}
        if session["archived_at"] is not None:
            self.ask("POST", events, 409, json=body)
            return

        async def turn() -> None:
            async with self._platform.harness.watch(SessionId(id), previews=frozenset()) as batches:
                (await self._client.post(f"/v1/{events}", json=body)).raise_for_status()
                async for frames in batches:
                    if any(frame.type == "session.status_idle" for frame in frames):
                        return

        self.run(turn())
        self.world.turns[id] += 1
        log = self.ask("GET", events, params={"limit": 1000})["data"]
        said = [each["type"] for each in log if each["type"] in ("user.message", "agent.message")]
        assert said == ["user.message", "agent.message"] * self.world.turns[id]
        assert len({each["id"] for each in log}) == len(log)
        after = self.ask("GET", f"sessions/{id}")
        self.changed("sessions", session, after, usage=after["usage"])

    @rule(number=which, name=names)
    def make_deployment(self, number: int, name: str) -> None:
        if (parts := self._parts(number)) is None:
            return
        agent, place, open_ = parts
        body = {"name": name, "agent": agent["id"], "environment_id": place["id"], "initial_events": [message("hi")]}
        made = self.ask("POST", "deployments", 200 if open_ else 400, json=body)
        if open_:
            self.keep("deployments", made)

    @rule(number=which, act=st.sampled_from(["pause", "unpause"]))
    def pause_or_go_on(self, number: int, act: str) -> None:
        before = self.world.pick("deployments", number)
        if before is None:
            return
        if before["archived_at"] is not None:
            self.ask("POST", f"deployments/{before['id']}/{act}", 400)
            return
        after = self.ask("POST", f"deployments/{before['id']}/{act}")
        reason = {"type": "manual"} if act == "pause" else None
        status = "paused" if act == "pause" else "active"
        self.changed("deployments", before, after, status=status, paused_reason=reason)

    # -- files and skills ----------------------------------------------------------------------------------------

    @rule(name=names, content=st.binary(max_size=64))
    def upload(self, name: str, content: bytes) -> None:
        made = self.ask("POST", "files", files={"file": (name, content)})
        assert (made["filename"], made["size_bytes"], made["downloadable"]) == (name, len(content), False)
        self.keep("files", made)
        self.ask("GET", f"files/{made['id']}/content", 400)

    def _skill(self, name: str) -> Json:
        return {"files": {"files[]": (f"{name}/SKILL.md", f"---\nname: {name}\ndescription: d\n---\n".encode())}}

    @rule(name=names)
    def make_skill(self, name: str) -> None:
        taken = {each["name"] for id in self.world.there["skills"] for each in self.world.skill_versions[id]}
        made = self.ask("POST", "skills", 409 if name in taken else 200, **self._skill(name))
        if name not in taken:
            self.keep("skills", made)
            latest = self.ask("GET", f"skills/{made['id']}/versions/latest")
            assert (latest["id"], latest["name"]) == (made["latest_version_id"], name)
            self.world.skill_versions[made["id"]] = [latest]

    @rule(number=which, delete=st.booleans())
    def add_or_delete_a_version(self, number: int, delete: bool) -> None:
        skill = self.world.pick("skills", number)
        if skill is None:
            return
        id, versions = skill["id"], self.world.skill_versions[skill["id"]]
        if not delete:
            versions.append(self.ask("POST", f"skills/{id}/versions", **self._skill(versions[0]["name"])))
        elif len(versions) == 1:
            self.ask("DELETE", f"skills/{id}/versions/{versions[0]['id']}", 400)
        else:
            self.ask("DELETE", f"skills/{id}/versions/{versions.pop()['id']}")
        shown = self.ask("GET", f"skills/{id}/versions")["data"]
        assert shown == [*reversed(versions)]
        self.changed("skills", skill, self.ask("GET", f"skills/{id}"), latest_version_id=versions[-1]["id"])

    # -- vaults and memory ---------------------------------------------------------------------------------------

    @rule(name=names, metadata=bags)
    def make_vault(self, name: str, metadata: dict[str, str]) -> None:
        made = self.ask("POST", "vaults", json={"display_name": name, "metadata": metadata})
        self.keep("vaults", made)
        self.world.credentials[made["id"]] = {}

    @rule(number=which, host=names, archive=st.booleans())
    def put_or_archive_a_credential(self, number: int, host: str, archive: bool) -> None:
        vault = self.world.pick("vaults", number)
        if vault is None:
            return
        kept, url = self.world.credentials[vault["id"]], f"https://{host}.example.com/mcp"
        at = f"vaults/{vault['id']}/credentials"
        active = [
            each for each in kept.values() if each["archived_at"] is None and each["auth"]["mcp_server_url"] == url
        ]
        if archive and active:
            after = self.ask("POST", f"{at}/{active[0]['id']}/archive")
            assert after["archived_at"] is not None
            kept[after["id"]] = after
        else:
            auth = {"type": "static_bearer", "mcp_server_url": url, "token": "secret"}
            status = 400 if vault["archived_at"] is not None else 409 if active else 200
            made = self.ask("POST", at, status, json={"auth": auth})
            assert "secret" not in str(made)
            if status == 200:
                kept[made["id"]] = made
        shown = self.ask("GET", at, params={"include_archived": True, "limit": 100})["data"]
        assert [each["id"] for each in shown] == [*reversed(kept)]
        assert {each["id"] for each in shown if each["archived_at"] is None} == {
            each["id"] for each in kept.values() if each["archived_at"] is None
        }

    @rule(name=names, metadata=bags)
    def make_memory_store(self, name: str, metadata: dict[str, str]) -> None:
        made = self.keep("memory_stores", self.ask("POST", "memory_stores", json={"name": name, "metadata": metadata}))
        self.world.memories[made["id"]], self.world.changes[made["id"]] = {}, []

    @rule(
        number=which,
        other=which,
        path=paths,
        content=contents,
        act=st.sampled_from(["create", "create", "change", "rename", "delete"]),
        expects=st.sampled_from([None, True, False]),
    )
    def write_memory(self, number: int, other: int, path: str, content: str, act: str, expects: bool | None) -> None:
        store = self.world.pick("memory_stores", number)
        if store is None:
            return
        kept, at = self.world.memories[store["id"]], f"memory_stores/{store['id']}/memories"
        one = [*kept.values()][other % len(kept)] if kept else None
        refused = 400 if store["archived_at"] is not None else None
        # What the client thinks that the memory says: nothing, what it says, or something else.
        thought = None if expects is None or one is None else one["content_sha256"] if expects else sha256("else")
        if act == "create" or one is None:
            rival = in_the_way(path, {id: each["path"] for id, each in kept.items()})
            status = refused or (409 if rival else 200)
            made = self.ask("POST", at, status, json={"path": path, "content": content}, params={"view": "full"})
            if status == 409:
                assert made["error"]["conflicting_memory_id"] in kept
            if status == 200:
                kept[made["id"]] = made
                self.world.changes[store["id"]].append("created")
        elif act == "delete":
            status = 409 if expects is False and refused is None else 200
            params = {} if thought is None else {"expected_content_sha256": thought}
            if refused is not None and expects is False:
                status = 409
            self.ask("DELETE", f"{at}/{one['id']}", status, params=params)
            if status == 200:
                del kept[one["id"]]
                self.world.changes[store["id"]].append("deleted")
        else:
            self._change(
                at, store["id"], one, {"content": content} if act == "change" else {"path": path}, thought, refused
            )
        shown = self.ask("GET", at, params={"view": "full", "limit": 20})["data"]
        assert [(each["path"], each["content"]) for each in shown] == sorted(
            (each["path"], each["content"]) for each in kept.values()
        )
        versions = self.ask("GET", f"memory_stores/{store['id']}/memory_versions", params={"limit": 100})["data"]
        assert [each["operation"] for each in versions] == self.world.changes[store["id"]][::-1][:100]

    @rule(number=which, other=which, path=paths, content=contents)
    def write_another(self, number: int, other: int, path: str, content: str) -> None:
        self.write_memory(number, other, path, content, "create", None)

    @rule(number=which, other=which, path=paths, content=contents, rename=st.booleans(), right=st.booleans())
    def write_over(self, number: int, other: int, path: str, content: str, rename: bool, right: bool) -> None:
        self.write_memory(number, other, path, content, "rename" if rename else "change", right)

    def _change(self, at: str, store: str, one: Json, change: Json, thought: str | None, refused: int | None) -> None:
        kept = self.world.memories[store]
        others = {id: each["path"] for id, each in kept.items() if id != one["id"]}
        same = all(one[name] == value for name, value in change.items())
        # What changes nothing is never refused for what it expected (agents.memory.records).
        stale = not same and thought is not None and thought != one["content_sha256"]
        status = refused or (409 if stale or ("path" in change and in_the_way(change["path"], others)) else 200)
        body = change if thought is None else {
            **change, "precondition": {"type": "content_sha256", "content_sha256": thought},
        }  # fmt: skip
        after = self.ask("POST", f"{at}/{one['id']}", status, json=body, params={"view": "full"})
        if status == 200:
            assert (after["path"], after["content"]) == tuple({**one, **change}[name] for name in ("path", "content"))
            kept[one["id"]] = after
            if not same:
                self.world.changes[store].append("modified")


@requirement("transport:model")
@pytest.mark.parametrize(("on_disk", "examples"), [(False, 25), (True, 6)], ids=["memory", "sqlite"])
def test_random_valid_requests_do_what_the_model_says(on_disk: bool, examples: int) -> None:
    loop = asyncio.new_event_loop()
    machine: Callable[[], ApiMachine] = type("Machine", (ApiMachine,), {"loop": loop, "on_disk": on_disk})
    try:
        run_state_machine_as_test(
            machine,  # type: ignore[arg-type]
            settings=settings(
                max_examples=examples,
                stateful_step_count=40,
                deadline=None,
                derandomize=True,
                database=None,
                # To shrink an example takes minutes; it is printed, and it is always the same.
                phases=[Phase.generate],
                report_multiple_bugs=False,
                suppress_health_check=[*HealthCheck],
            ),
        )
    finally:
        loop.close()
