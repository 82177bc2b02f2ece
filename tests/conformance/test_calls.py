"""Every call of the SDK is made once: what docs/compatibility.md says of each is what the server answers.

How each call behaves is for the requirements that its line names; this holds that none is claimed and missing.
"""

from __future__ import annotations

import ast
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from inspect import getsource
from typing import Any

import anthropic
import httpx
import pytest
from anthropic import Anthropic

from tests.conformance import coverage, worker_site
from tests.conformance.calls import CALLS, EVENTS, Line, State
from tests.conformance.platform import LivePlatform
from tests.conformance.requirements import requirement
from tests.conformance.scene import END, MODEL, START, bash, calls, says, toolset
from tests.conformance.sdk_calls import event_types, sdk_calls
from tests.conformance.test_skills import files as skill_files
from tests.conformance.wire_check import check_answer

HELLO: Any = {"type": "user.message", "content": [{"type": "text", "text": "hi"}]}
CRON: Any = {"type": "cron", "expression": "30 9 * * *", "timezone": "UTC"}
PATIENCE = 30.0


class Answered:
    """Which calls were made, and with what statuses they were answered."""

    def __init__(self) -> None:
        self.statuses: dict[str, set[int]] = defaultdict(set)
        routes = [(each.route, each.name) for each in sdk_calls().values() if each.route]
        # What is spelled out goes before what is a parameter: /work/poll is no /work/{work_id}.
        self._routes = [
            (verb, re.compile(re.sub(r"{\w+}", "[^/]+", path)), name)
            for (verb, path), name in sorted(routes, key=lambda each: each[0][1].count("{"))
        ]

    def hear(self, response: Any) -> None:
        method, path = response.request.method, response.request.url.path
        for verb, pattern, name in self._routes:
            if verb == method and pattern.fullmatch(path):
                self.statuses[name].add(response.status_code)
                break
        if response.headers.get("content-type", "").startswith("application/json"):
            response.read()
            check_answer(method, path, response.status_code, response.headers, response.content)

    @contextmanager
    def client(self, url: str, **credential: Any) -> Iterator[Anthropic]:
        transport = anthropic.DefaultHttpxClient(event_hooks={"response": [self.hear]})
        with Anthropic(base_url=url, max_retries=0, timeout=20, http_client=transport, **credential) as made:
            yield made


def agents(client: Anthropic) -> None:
    made = client.beta.agents.create(name="a", model=MODEL)
    client.beta.agents.update(made.id, version=1, name="b")
    assert client.beta.agents.retrieve(made.id).version == 2
    assert len(list(client.beta.agents.versions.list(made.id))) == 2
    client.beta.agents.list(limit=1)
    assert client.beta.agents.archive(made.id).archived_at


def environments(client: Anthropic) -> None:
    made = client.beta.environments.create(name=f"calls {time.time_ns()}")
    client.beta.environments.update(made.id, description="d")
    assert client.beta.environments.retrieve(made.id).description == "d"
    client.beta.environments.list(limit=1)
    client.beta.environments.archive(made.id)
    client.beta.environments.delete(made.id)


def work(client: Anthropic, worker: Anthropic, place: str) -> None:
    items = worker.beta.environments.work
    made = items.poll(environment_id=place, block_ms=999)
    assert made is not None
    items.ack(made.id, environment_id=place)
    items.heartbeat(made.id, environment_id=place, expected_last_heartbeat="NO_HEARTBEAT")
    items.update(made.id, environment_id=place, metadata={"a": "b"})
    assert items.retrieve(made.id, environment_id=place).metadata == {"a": "b"}
    assert [each.id for each in items.list(place)] == [made.id]
    items.stats(place)
    assert items.stop(made.id, environment_id=place, force=True).state == "stopped"


def memory(client: Anthropic) -> None:
    stores = client.beta.memory_stores
    store = stores.create(name="notes")
    stores.update(store.id, description="d")
    stores.retrieve(store.id)
    stores.list(limit=1)
    made = stores.memories.create(store.id, path="/a.md", content="one")
    stores.memories.retrieve(made.id, memory_store_id=store.id)
    stores.memories.update(made.id, memory_store_id=store.id, content="two")
    stores.memories.list(store.id)
    first = list(stores.memory_versions.list(store.id))[-1]
    stores.memory_versions.retrieve(first.id, memory_store_id=store.id)
    stores.memory_versions.redact(first.id, memory_store_id=store.id)
    stores.memories.delete(made.id, memory_store_id=store.id)
    stores.archive(store.id)
    stores.delete(store.id)


def skills(client: Anthropic) -> None:
    name = f"calls-{time.time_ns()}"
    skill = client.beta.skills.create(files=skill_files(name))
    client.beta.skills.retrieve(skill.id)
    client.beta.skills.list(limit=1)
    versions = client.beta.skills.versions
    second = versions.create(skill.id, files=skill_files(name, "Tidies all."))
    versions.retrieve(second.id, skill_id=skill.id)
    assert len(list(versions.list(skill.id))) == 2
    versions.download(second.id, skill_id=skill.id).read()
    versions.delete(second.id, skill_id=skill.id)
    client.beta.skills.delete(skill.id)


def vaults(client: Anthropic) -> None:
    vault = client.beta.vaults.create(display_name="v")
    client.beta.vaults.update(vault.id, display_name="w")
    client.beta.vaults.retrieve(vault.id)
    client.beta.vaults.list(limit=1)
    # Nobody connects there: the guard is before it.
    auth: Any = {"type": "mcp_oauth", "mcp_server_url": "http://192.168.0.1/mcp", "access_token": "t"}
    credentials = client.beta.vaults.credentials
    made = credentials.create(vault.id, auth=auth)
    credentials.update(made.id, vault_id=vault.id, display_name="c")
    credentials.retrieve(made.id, vault_id=vault.id)
    credentials.list(vault.id)
    credentials.mcp_oauth_validate(made.id, vault_id=vault.id)
    credentials.archive(made.id, vault_id=vault.id)
    credentials.delete(made.id, vault_id=vault.id)
    client.beta.vaults.archive(vault.id)
    client.beta.vaults.delete(vault.id)


def deployments(client: Anthropic, agent: str, place: str) -> None:
    each = client.beta.deployments
    made = each.create(name="d", agent=agent, environment_id=place, initial_events=[HELLO], schedule=CRON)
    each.update(made.id, name="e")
    each.retrieve(made.id)
    each.list(limit=1)
    each.pause(made.id)
    each.unpause(made.id)
    run = each.run(made.id)
    client.beta.deployment_runs.retrieve(run.id)
    client.beta.deployment_runs.list(limit=1)
    each.archive(made.id)


def models(client: Anthropic) -> None:
    listed = list(client.beta.models.list())
    client.beta.models.retrieve(listed[0].id)
    client.beta.messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": "hi"}])
    client.beta.messages.create(model=MODEL, max_tokens=16, messages=[{"role": "user", "content": "hi"}])


def files(client: Anthropic) -> str:
    made = client.beta.files.upload(file=("notes.txt", b"x", "text/plain"))
    gone = client.beta.files.upload(file=("gone.txt", b"x", "text/plain"))
    client.beta.files.retrieve_metadata(made.id)
    client.beta.files.list(limit=1)
    client.beta.files.delete(gone.id)
    return made.id


def sessions(client: Anthropic, agent: str, place: str, file: str) -> None:
    each = client.beta.sessions
    made = each.create(agent=agent, environment_id=place)
    added = each.resources.add(made.id, type="file", file_id=file)
    each.resources.retrieve(added.id, session_id=made.id)
    each.resources.list(made.id)
    each.resources.delete(added.id, session_id=made.id)
    each.update(made.id, title="t")
    each.list(limit=1)
    (thread,) = list(each.threads.list(made.id))
    each.threads.retrieve(thread.id, session_id=made.id)
    each.threads.events.list(thread.id, session_id=made.id)
    with each.threads.events.stream(thread.id, session_id=made.id), each.events.stream(made.id) as stream:
        each.events.send(made.id, events=[HELLO])
        for event in stream:
            if event.type == "session.status_idle":
                break
    each.events.list(made.id, limit=1)
    if there("files.download"):
        left = [one for one in client.beta.files.list(scope_id=made.id) if one.downloadable]
        assert client.beta.files.download(left[0].id).read() == b"left\n"
    else:
        refused(lambda: client.beta.files.download(file))
    each.archive(made.id)
    each.delete(made.id)
    assert each.create(agent=agent, environment_id=place).status == "idle"


def repositories(client: Anthropic, agent: str, place: str) -> None:
    # Nothing is fetched from there: the session has no sandbox.
    repository: Any = {"type": "github_repository", "url": "https://github.com/a/b", "authorization_token": "t"}
    each = client.beta.sessions
    if there("sessions.resources.update"):
        made = each.create(agent=agent, environment_id=place, resources=[repository])
        (cloned,) = [one for one in each.resources.list(made.id) if one.type == "github_repository"]
        each.resources.update(cloned.id, session_id=made.id, authorization_token="u")
    else:
        refused(lambda: each.resources.update("sesrsc_none", session_id="sesn_none", authorization_token="u"))


def there(call: str) -> bool:
    return CALLS[call].state is not State.ABSENT


def refused(call: Callable[[], Any]) -> None:
    with pytest.raises(anthropic.APIStatusError):
        call()


def absent(client: Anthropic, agent: str, place: str) -> None:
    dreams, batches = client.beta.dreams, client.beta.messages.batches
    refused(lambda: dreams.create(inputs=[], model=MODEL))
    refused(dreams.list)
    refused(batches.list)
    refused(lambda: batches.create(requests=[]))
    refused(lambda: client.get("/v1/messages/batches/msgbatch_none/results", cast_to=object))
    for one in (dreams.retrieve, dreams.archive, dreams.cancel):
        refused(lambda one=one: one("drm_none"))
    for one in (batches.retrieve, batches.delete, batches.cancel):
        refused(lambda one=one: one("msgbatch_none"))
    # The primary thread is not archived: that there is the call is all that it shows.
    made = client.beta.sessions.create(agent=agent, environment_id=place)
    client.beta.sessions.retrieve(made.id)
    (thread,) = list(client.beta.sessions.threads.list(made.id))
    refused(lambda: client.beta.sessions.threads.archive(thread.id, session_id=made.id))


@requirement("transport:calls")
@pytest.mark.timeout(120)
def test_every_call_is_answered_as_the_page_says(platform: LivePlatform, http: httpx.Client) -> None:
    answered = Answered()
    mark = f"mark{time.time_ns()}"
    platform.stub.script(calls(bash("echo left > /mnt/session/outputs/left.txt")), says("done"), match=mark)
    elsewhere: Any = {"type": "self_hosted"}
    with answered.client(platform.url, api_key=platform.key) as client:
        agent = client.beta.agents.create(name="a", model=MODEL, system=mark, tools=[toolset()]).id  # type: ignore[list-item]
        place = client.beta.environments.create(name=f"calls {time.time_ns()}").id
        queue = client.beta.environments.create(name=f"calls {time.time_ns()}", config=elsewhere).id
        client.beta.sessions.create(agent=agent, environment_id=queue)
        key = http.post(f"/v1/environments/{queue}/keys").json()["key"]
        with answered.client(platform.url, api_key=None, auth_token=key) as worker:
            work(client, worker, queue)
        for course in (agents, environments, memory, skills, vaults, models):
            course(client)
        # Of another agent: its run would take the answers that the session is to get.
        deployments(client, client.beta.agents.create(name="a", model=MODEL).id, place)
        repositories(client, agent, place)
        absent(client, agent, place)
        sessions(client, agent, place, files(client))
    said = {name: line.state for name, line in CALLS.items() if sdk_calls()[name].route}
    done = {name: {status for status in answered.statuses[name] if status < 300} for name in said}
    assert [name for name, state in said.items() if state is not State.ABSENT and not done[name]] == [
        "sessions.threads.archive"
    ]
    assert [name for name, state in said.items() if state is State.ABSENT and done[name]] == []
    unheard = [name for name in said if not answered.statuses[name]]
    assert unheard == [], "calls that the course does not make"


def _shown(line: Line, tests: dict[str, list[str]]) -> list[str]:
    return [name for name, ids in tests.items() if {*ids} & {*line.ids}]


def _texts(line: Line, tests: dict[str, list[str]]) -> list[str]:
    """The modules that have what shows a line."""
    return [getsource(import_module(name)) for name in {name.partition("::")[0] for name in _shown(line, tests)}]


@requirement("transport:calls")
def test_every_call_and_event_type_of_the_sdk_has_its_line() -> None:
    assert [*sorted(CALLS)] == [*sorted(sdk_calls())]
    assert [*sorted(EVENTS)] == [*sorted(event_types())]
    for name, line in {**CALLS, **EVENTS}.items():
        assert line.state is State.PASS or line.what, f"{name}: nothing says what is missing"


@requirement("transport:calls")
def test_every_helper_is_called_by_what_shows_it() -> None:
    tests = coverage.tests()
    helpers = [name for name, call in sdk_calls().items() if call.route is None and there(name)]
    assert {"messages.parse", "messages.thread", "webhooks.unwrap", "sessions.events.tool_runner"} <= {*helpers}
    unshown = [
        name
        for name in helpers
        if not any(f"{_called(name)}(" in each for each in (*_texts(CALLS[name], tests), getsource(worker_site)))
    ]
    assert unshown == []


def _called(name: str) -> str:
    """How tests write a call: its last two names, as what is above them often stands in a variable."""
    return ".".join(name.split(".")[-2:])


@requirement("transport:calls")
def test_what_shows_an_event_type_speaks_of_it() -> None:
    tests = coverage.tests()
    for kind, line in EVENTS.items():
        if line.state is not State.PASS:
            continue
        assert kind in {*START, *END} or any(kind in _strings(text) for text in _texts(line, tests)), kind


def _strings(text: str) -> set[str]:
    """The texts that a module's code has; what its comments and docstrings speak of is not among them."""
    nodes = ast.walk(ast.parse(text))
    return {each.value for each in nodes if isinstance(each, ast.Constant) and isinstance(each.value, str)}
