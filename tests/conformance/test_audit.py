"""The audit trail on a live server: acts by the SDK, verification, holds, redaction, export (ours)."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from anthropic import Anthropic, ConflictError, NotFoundError
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from agents.cli import app
from agents.governance.audit.checkpoint import Checkpoint, is_signed
from tests.conformance.platform import KEY, LivePlatform, in_process
from tests.conformance.requirements import requirement
from tests.conformance.scene import MODEL, says

pytestmark = pytest.mark.timeout(60)
SIGNER = "5a" * 32


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("audited")


@pytest.fixture(scope="module")
def audited(data_dir: Path) -> Iterator[LivePlatform]:
    with in_process(data_dir, audit={"signing_key": SIGNER}) as made:
        yield made


@pytest.fixture(scope="module")
def sdk(audited: LivePlatform) -> Iterator[Anthropic]:
    with Anthropic(base_url=audited.url, api_key=KEY, timeout=20) as made:
        yield made


def command(audited: LivePlatform | None, *arguments: str, code: int = 0) -> str:
    """Run ``hecaton audit``; returns what it printed."""
    where = ("--url", audited.url, "--api-key", KEY) if audited else ()
    result = CliRunner().invoke(app, ["audit", *arguments, *where], env={"COLUMNS": "300"})
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


def entries(audited: LivePlatform, **asked: str) -> list[dict[str, Any]]:
    options = [text for name, value in asked.items() for text in (f"--{name}", value)]
    return json.loads(command(audited, "list", "--json", *options))


class Talk:
    """A session of one's own, and what is said in it."""

    def __init__(self, audited: LivePlatform, sdk: Anthropic, name: str) -> None:
        self._stub, self._sdk, self.mark = audited.stub, sdk, f"mark-{name}"
        self.agent = sdk.beta.agents.create(name=name, model=MODEL, system=f"Scene {self.mark}.")
        self.environment = sdk.beta.environments.create(name=name)
        self.id = sdk.beta.sessions.create(agent=self.agent.id, environment_id=self.environment.id).id

    def say(self, text: str) -> None:
        """Say something, and wait until the turn has ended."""
        self._stub.script(says("noted"), match=self.mark)
        message: Any = {"type": "user.message", "content": [{"type": "text", "text": text}]}
        with self._sdk.beta.sessions.events.stream(self.id) as stream:
            self._sdk.beta.sessions.events.send(self.id, events=[message])
            for event in stream:
                if event.type == "session.status_idle":
                    return

    def events(self) -> list[Any]:
        return list(self._sdk.beta.sessions.events.list(self.id))

    def shown(self, count: int) -> str:
        """What the model was shown by its latest request."""
        return json.dumps(self._stub.seen(count, match=self.mark)[-1]["body"])


@requirement("platform:audit")
def test_acts_are_in_the_trail_with_who_where_and_what_came_of_them(audited: LivePlatform, sdk: Anthropic) -> None:
    talk = Talk(audited, sdk, "acts")
    raw = sdk.beta.sessions.with_raw_response.update(talk.id, title="secret plans", metadata={"team": "a"})
    with pytest.raises(NotFoundError):
        sdk.beta.agents.update("agent_none", name="x", version=1)
    sdk.beta.sessions.archive(talk.id)
    made = [(each["action"], each["outcome"]) for each in entries(audited, object=talk.id)]
    assert made == [("archiveSession", "ok"), ("updateSession", "ok"), ("createSession", "ok")]
    [update] = entries(audited, action="updateSession")
    assert (update["actor"], update["origin"]) == ("default", "127.0.0.1")
    assert update["request_id"] == raw.headers["request-id"]
    assert update["detail"] == {"fields": ["metadata", "title"]} and "secret plans" not in update["text"]
    assert entries(audited, object=talk.agent.id)[0]["action"] == "createAgent"
    assert entries(audited, object="agent_none")[0]["outcome"] == "not_found_error"
    assert "createEnvironment" in command(audited, "list")
    assert entries(audited, action="listAudit")[0]["actor"] == "default"  # so is who reads it
    assert "verified" in command(audited, "verify")


@requirement("platform:audit")
def test_a_session_under_hold_cannot_be_deleted(audited: LivePlatform, sdk: Anthropic) -> None:
    talk = Talk(audited, sdk, "held")
    talk.say("hello")
    command(audited, "hold", "add", talk.id, "--reason", "case 7")
    assert "case 7" in command(audited, "hold", "list")
    with pytest.raises(ConflictError, match="legal hold"):
        sdk.beta.sessions.delete(talk.id)
    assert entries(audited, action="deleteSession")[0]["outcome"] == "conflict_error"
    talk.say("it goes on")
    command(audited, "hold", "release", talk.id)
    sdk.beta.sessions.delete(talk.id)
    assert [each["action"] for each in entries(audited, object=talk.id)][:2] == ["deleteSession", "releaseSession"]
    command(audited, "verify")


@requirement("platform:audit")
def test_a_redacted_message_is_shown_to_nobody_any_more_and_the_chain_stays_whole(
    audited: LivePlatform, sdk: Anthropic
) -> None:
    talk = Talk(audited, sdk, "redacted")
    talk.say("my number is 4711")
    [said] = [event for event in talk.events() if event.type == "user.message"]
    command(audited, "redact", talk.id, said.id, "--reason", "asked for", "--yes")
    talk.say("what was it?")
    assert "4711" not in talk.shown(2) and "[redacted]" in talk.shown(2)
    texts = [event.content[0].text for event in talk.events() if event.type == "user.message"]
    assert texts == ["[redacted]", "what was it?"]
    [entry] = entries(audited, action="redactEvent")
    assert (entry["object"], entry["detail"]["event"], entry["detail"]["reason"]) == (talk.id, said.id, "asked for")
    assert "before" in entry["detail"] and "4711" not in entry["text"]
    command(audited, "verify", "--session", talk.id)


@requirement("platform:audit")
def test_a_signed_head_holds_later_and_a_byte_that_was_flipped_is_named(
    audited: LivePlatform, sdk: Anthropic, data_dir: Path, tmp_path: Path
) -> None:
    talk = Talk(audited, sdk, "flipped")
    talk.say("hello")
    head = json.loads(command(audited, "head", "--json"))
    assert is_signed(Checkpoint(head["seq"], head["hash"], head["at"]), head["signature"], head["public_key"])
    signer = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(SIGNER))
    assert head["public_key"] == signer.public_key().public_bytes_raw().hex()
    sdk.beta.sessions.archive(talk.id)
    command(audited, "verify", "--head", f"{head['seq']}:{head['hash']}")
    assert "not in the trail" in command(audited, "verify", "--head", "0" * 64, code=1)
    out = tmp_path / "export"
    command(audited, "export", "--out", str(out))
    assert not command(None, "verify", "--from", str(out), "--head", head["hash"]).startswith("0 ")

    copy = tmp_path / "copy"
    copy.mkdir()
    with (
        closing(sqlite3.connect(data_dir / "hecaton.db")) as source,
        closing(sqlite3.connect(copy / "hecaton.db")) as target,
    ):
        source.backup(target)
        command(None, "verify", "--offline", "--data-dir", str(copy))
        target.execute("UPDATE events SET body = replace(body, 'hello', 'hellu') WHERE session_id = ?", (talk.id,))
        target.commit()
        found = command(None, "verify", "--offline", "--data-dir", str(copy), code=1)
        assert talk.id in found and "was changed" in found
        target.execute("UPDATE audit_entries SET body = replace(body, 'default', 'nobody') WHERE seq = 2")
        target.commit()
        assert "entry 2 was changed" in command(None, "verify", "--offline", "--data-dir", str(copy), code=1)
