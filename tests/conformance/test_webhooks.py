"""Webhooks (spec A.11): what is posted when something happens, verified by the official SDK."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from anthropic import Anthropic
from standardwebhooks import WebhookVerificationError

from tests.conformance.requirements import requirement
from tests.conformance.scene import MODEL, message

_PATIENCE = 30.0


@dataclass
class Receiver:
    """Takes posts, answers them all alike, and says when enough have come."""

    status: int
    url: str = ""
    got: list[tuple[dict[str, str], str]] = field(default_factory=lambda: [])
    news: threading.Condition = field(default_factory=threading.Condition)

    def take(self, headers: dict[str, str], body: str) -> None:
        with self.news:
            self.got.append((headers, body))
            self.news.notify_all()

    def wait(self, wanted: set[tuple[str, str]], sdk: Anthropic, key: str) -> None:
        """Return once all *wanted* names and ids have come, each signed as it must be."""
        with self.news:
            came = self.news.wait_for(lambda: wanted <= self.seen(sdk, key), _PATIENCE)
        assert came, wanted - self.seen(sdk, key)

    def seen(self, sdk: Anthropic, key: str) -> set[tuple[str, str]]:
        events = [sdk.beta.webhooks.unwrap(body, headers=headers, key=key) for headers, body in self.got]
        return {(event.data.type, event.data.id) for event in events}


@contextmanager
def receiving(status: int) -> Iterator[Receiver]:
    receiver = Receiver(status)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            receiver.take({name.lower(): value for name, value in self.headers.items()}, body)
            self.send_response(receiver.status)
            self.send_header("location", receiver.url)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            del format, args

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


def registered(http: httpx.Client, receiver: Receiver, *events: str) -> dict[str, Any]:
    answer = http.post("/-/webhooks", json={"url": receiver.url, **({"events": list(events)} if events else {})})
    assert answer.status_code == 200, answer.text
    return answer.json()


@requirement("webhooks:signed", "webhooks:session", "webhooks:resources", "webhooks:endpoints")
def test_what_happens_is_posted_and_verified_by_the_sdk(client: Anthropic, http: httpx.Client) -> None:
    with receiving(204) as receiver:
        made = registered(http, receiver)
        key = made["secret"]
        beta = client.beta
        agent = beta.agents.create(name="told", model=MODEL)
        place = beta.environments.create(name="told")
        vault = beta.vaults.create(display_name="told")
        hello: Any = message("hi")
        auth: Any = {"type": "static_bearer", "mcp_server_url": "https://mcp.example.com/", "token": "t"}
        credential = beta.vaults.credentials.create(vault.id, auth=auth)
        memory = beta.memory_stores.create(name="told")
        other = beta.environments.create(name="of deployments")
        deployment = beta.deployments.create(
            name="told", agent=agent.id, environment_id=other.id, initial_events=[hello]
        )
        run = beta.deployments.run(deployment.id)
        beta.deployments.pause(deployment.id)
        beta.deployments.archive(deployment.id)
        beta.memory_stores.delete(memory.id)
        session = beta.sessions.create(agent=agent.id, environment_id=place.id)
        beta.sessions.events.send(session.id, events=[hello])
        receiver.wait({("session.status_idled", session.id)}, client, key)
        beta.sessions.update(session.id, title="told")
        beta.sessions.archive(session.id)
        beta.sessions.delete(session.id)
        beta.vaults.archive(vault.id)
        beta.agents.archive(agent.id)
        beta.environments.delete(place.id)
        of_session = ("created", "status_run_started", "status_idled", "updated", "archived", "deleted")
        receiver.wait(
            {
                *((f"session.{what}", session.id) for what in of_session),
                *((f"agent.{what}", agent.id) for what in ("created", "archived")),
                *((f"environment.{what}", place.id) for what in ("created", "deleted")),
                *((f"vault.{what}", vault.id) for what in ("created", "archived")),
                *((f"deployment.{what}", deployment.id) for what in ("created", "paused", "archived")),
                *((f"deployment_run.{what}", run.id) for what in ("started", "succeeded")),
                *((f"memory_store.{what}", memory.id) for what in ("created", "deleted")),
                *((f"vault_credential.{what}", credential.id) for what in ("created", "archived")),
            },
            client,
            key,
        )
        [listed] = [each for each in http.get("/-/webhooks").json()["data"] if each["id"] == made["id"]]
        assert listed["status"] == "enabled" and "secret" not in listed
        assert http.delete(f"/-/webhooks/{made['id']}").status_code == 200
        headers, body = receiver.got[0]
        assert beta.webhooks.parse_unverified(body) == beta.webhooks.unwrap(body, headers=headers, key=key)
        with pytest.raises(WebhookVerificationError):
            client.beta.webhooks.unwrap(body.replace("default", "other"), headers=headers, key=key)


@requirement("webhooks:redirect", "webhooks:endpoints")
def test_an_endpoint_that_leads_elsewhere_is_disabled_until_it_is_enabled(
    client: Anthropic, http: httpx.Client
) -> None:
    with receiving(302) as receiver:
        made = registered(http, receiver, "agent.created")
        path = f"/-/webhooks/{made['id']}"
        first = client.beta.agents.create(name="told", model=MODEL)
        receiver.wait({("agent.created", first.id)}, client, made["secret"])
        # The outcome is stored after the answer; who enables it meanwhile would be disabled again.
        reason = None
        for _ in range(1000):
            reason = http.get(path).json()["disabled_reason"]
            if reason is not None:
                break
        assert reason == "status 302"
        client.beta.agents.create(name="not told", model=MODEL)
        receiver.status = 200
        assert http.post(f"{path}/enable").json()["status"] == "enabled"
        second = client.beta.agents.create(name="told", model=MODEL)
        receiver.wait({("agent.created", second.id)}, client, made["secret"])
        assert len(receiver.got) == 2
        assert http.delete(path).status_code == 200
