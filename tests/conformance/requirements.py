"""What the API promises, line by line: every CORE line of the specification, each under a stable id.

An id is ``<area>:<feature>[:<variant>]``. ``source`` names the section of the specification (a number such
as ``A.1``; ``H-6`` is a decision of section H; ``ours`` goes beyond it). ``divergence`` says where this
server differs on purpose, ``deferred`` why a line has no test yet. ``test_coverage.py`` holds both ways: no
requirement without a test, no test without a requirement.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import pytest

F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Requirement:
    """One promise."""

    id: str
    source: str
    text: str
    divergence: str | None = None
    deferred: str | None = None

    @property
    def area(self) -> str:
        return self.id.partition(":")[0]


R = Requirement
_ALL = (
    # -- transport: section 0 and E ---------------------------------------------------------------
    R("transport:auth:bearer", "0", "a key sent as a bearer token is accepted"),
    R("transport:auth:x-api-key", "0", "a key sent as x-api-key is accepted"),
    R("transport:auth:refused", "E.1", "a missing or wrong key is a 401 authentication_error"),
    R("transport:headers:version", "0", "any known anthropic-version is accepted"),
    R("transport:headers:beta", "0", "the beta header may be there, missing, or a list",
      divergence="lenient: the hosted API answers 404 without the header and 400 for an unknown value"),
    R("transport:headers:ignored", "0", "workspace and telemetry headers are ignored"),
    R("transport:beta-query", "0", "?beta=true is ignored"),
    R("transport:request-id", "0", "every answer has a request-id; an error's body repeats it"),
    R("transport:empty-post", "0", "an action takes an empty body, and {}"),
    R("transport:query:arrays", "0", "name[]=a&name[]=b, brackets encoded or not"),
    R("transport:query:ranges", "0", "created_at[gte] and its like take ISO 8601 times with an offset"),
    R("transport:query:booleans", "0", "booleans are true and false; anything else is a 400"),
    R("transport:list-envelope", "0", "a list is {data, next_page}; sessions add prev_page"),
    R("transport:auto-pagination", "0", "the SDK's iteration over pages yields every item once"),
    R("transport:cursor:order", "0", "a cursor used with another order is a 400"),
    R("transport:cursor:filters", "0", "limit and other filters may change between pages"),
    R("transport:cursor:bounds", "0", "a changed created_at filter that excludes the cursor's position is a 400"),
    R("transport:cursor:garbage", "0", "a cursor that is none, or another listing's, is a 400"),
    R("transport:limit", "0", "limit is at least 1 and at most the listing's maximum"),
    R("transport:timestamps", "0", "times are RFC 3339 in UTC"),
    R("transport:ids", "0", "ids carry their kind's prefix"),
    R("transport:metadata", "0", "a metadata bag has at most 16 pairs, keys of 64 and values of 512 characters"),
    R("transport:errors:json", "E.1", "a body that is not JSON, or not an object, is a 400"),
    R("transport:errors:unknown-field", "ours", "an unknown field is a 400 that names it, at any depth"),
    R("transport:errors:wrong-type", "E.1", "a field of the wrong type is a 400 that names its path"),
    R("transport:errors:missing-field", "E.1", "a missing required field is a 400 that names it"),
    R("transport:errors:unknown-id", "E.1", "an unknown id of any resource is a 404"),
    R("transport:errors:unknown-path", "E.1", "an unknown path, or a part of the API to come, is a 404"),
    R("transport:errors:method", "E.1", "a wrong method on a known path is refused with the envelope",
      divergence="405 with error.type invalid_request_error; the hosted status is not documented"),
    R("transport:errors:sdk-classes", "E.1", "the SDK raises its typed exception for each status"),
    R("transport:body-cap", "A.12", "a body over 32 MB is a 413 request_too_large"),
    R("transport:conflict-no-retry", "0", "a semantic 409 says x-should-retry: false and the SDK tries once"),
    R("transport:retry-after", "E.2", "a 429 has retry-after"),
    R("transport:keys", "ours", "each of several keys opens the same workspace; its name is not shown"),
    R("transport:rate-limit:headers", "E.2", "with a limit, every answer says limit, remaining and reset of its key"),
    R("transport:rate-limit:refused", "A.12", "above a key's limit 429 rate_limit_error; other keys are not touched"),
    R("transport:rate-limit:sdk", "0", "the SDK's own retry waits as told and succeeds"),
    R("transport:key-share", "ours", "a key beyond its share of a full replica is refused; others find room"),
    R("transport:repeats", "H-7", "an SDK retry of the same bytes is answered from memory; an unmarked repeat is new"),
    # -- agents: A.1, C.1 (config), C.2, C.3, C.4 (config) ------------------------------------------
    R("agents:create:minimal", "A.1", "name and model suffice; the answer is resolved, version 1"),
    R("agents:create:model", "A.1", "model is an id or an object; effort a bare level or {type}"),
    R("agents:create:full", "A.1", "every field comes back as sent or resolved"),
    R("agents:toolset:resolved", "A.1", "toolsets show default_config and configs with type, enabled and policy"),
    R("agents:policies", "C.2", "by default the agent toolset is always_allow, an MCP toolset always_ask"),
    R("agents:retrieve:version", "A.1", "the newest version by default, any by number, 404 for none"),
    R("agents:update:version", "A.1", "a change makes the next version and leaves older ones readable"),
    R("agents:update:no-op", "A.1", "an identical result makes no new version"),
    R("agents:update:lock", "A.1", "a stale version is a 409, also when the change would do nothing"),
    R("agents:update:clearing", "A.1", "omitted keeps; null or empty clears; name and model cannot be cleared"),
    R("agents:update:arrays", "A.1", "arrays replace in full"),
    R("agents:update:metadata", "A.1", "metadata merges per key and null deletes"),
    R("agents:update:model", "A.1", "model replaces; effort stays for the same id, inference_geo is cleared"),
    R("agents:archive", "A.1", "archiving sets archived_at; an archived agent takes no update and no session"),
    R("agents:list", "A.1", "pages of 20, at most 100, newest first"),
    R("agents:list:archived", "A.1", "archived agents are listed on request only"),
    R("agents:list:times", "A.1", "created_at[gte] and [lte] bound the list"),
    R("agents:versions", "A.1", "the list of versions has each once, paged"),
    R("agents:mcp:both-ways", "C.4", "a server without its toolset, or a toolset without its server, is a 400"),
    R("agents:mcp:limits", "A.1", "at most 20 servers with unique names and URLs of 2048 characters"),
    R("agents:limits", "A.1", "system has at most 100 000 characters, toolsets at most 256 tools"),
    R("agents:custom:names", "C.3", "custom names are unique, of [A-Za-z0-9_-]{1,128}, not built-in, not mcp__"),
    R("agents:custom:schema", "C.3", "$ref and top-level oneOf/anyOf/allOf are refused; other keywords pass"),
    R("agents:web-domains", "C.1", "web tools' domain lists hold plain public hostnames; a fault names list and index"),
    R("agents:refused-parts", "ours", "skills and rosters are refused by name until they are here, never ignored"),
    R("agents:multiagent", "C.6", "rosters of agents", deferred="EXT: a later step; refused by name until then"),
    R("agents:skills", "C.5", "skills of an agent", deferred="EXT: a later step; refused by name until then"),
    # -- environments: A.2 --------------------------------------------------------------------------
    R("environments:create:default", "A.2", "a name suffices: cloud, unrestricted, all six package lists empty"),
    R("environments:create:limited", "A.2", "limited networking comes back with all its switches"),
    R("environments:name-unique", "H-15", "a name that is taken is a 409"),
    R("environments:update", "A.2", "omitted parts stay; description and networking change"),
    R("environments:update:metadata", "A.2", "metadata merges; null and the empty string delete"),
    R("environments:update:type", "A.2", "config.type cannot change: 400 invalid_config_type_change"),
    R("environments:archive", "A.2", "an archived one is 400 environment_archived for updates and new sessions"),
    R("environments:delete", "A.2", "deleted when no session refers to it, refused otherwise"),
    R("environments:list", "A.2", "paged; archived ones on request"),
    R("environments:packages-need-managers", "A.2", "limited networking with packages needs allow_package_managers"),
    R("environments:packages", "A.2", "installed packages", deferred="refused by name until they can be installed"),
    R("environments:self-hosted", "A.2", "type self_hosted", deferred="a clear 400 for now, by the issue"),
    R("environments:refused-parts", "ours", "self_hosted and packages are refused by name, never ignored"),
    R("environments:work", "A.3", "the work queue of self-hosted sandboxes", deferred="a later step; 404"),
    # -- sessions: A.4, B.3 (guards) -----------------------------------------------------------------
    R("sessions:create:forms", "A.4", "agent is an id, a reference with a version, or one with overrides"),
    R("sessions:create:shape", "A.4", "an idle session with the resolved snapshot and every key"),
    R("sessions:create:unknown", "A.4", "an unknown agent, version or environment is refused"),
    R("sessions:snapshot", "A.4", "later versions of the agent do not change a session"),
    R("sessions:overrides:inherit", "A.4", "omitted overrides inherit; the base agent stays as it is and is named"),
    R("sessions:overrides:clear", "A.4", "null and [] clear system, tools and servers"),
    R("sessions:overrides:model", "A.4", "model null is a 400 agent_model_required; its effort is ignored"),
    R("sessions:overrides:servers", "A.4", "clearing servers while a toolset names one is a 400"),
    R("sessions:initial-events:run", "B.3", "initial events start the first turn; they have ids and are not echoed"),
    R("sessions:initial-events:rules", "B.3", "at most 50, user.message only, all or nothing"),
    R("sessions:update:fields", "A.4", "title and metadata change at any time; null deletes"),
    R("sessions:update:agent", "B.3", "tools and servers change while idle only, and hold from the next turn"),
    R("sessions:update:event", "B.2", "session.updated has only what changed; no change, no event"),
    R("sessions:update:vaults", "A.4", "vault_ids in an update is always refused"),
    R("sessions:list:filters", "A.4", "agent_id, agent_version (with it), statuses[], created_at, include_archived"),
    R("sessions:list:both-ways", "A.4", "newest first, or order=asc; next_page and prev_page lead to and fro"),
    R("sessions:archive", "A.4", "archive makes it terminated, says so in the log, and keeps history readable"),
    R("sessions:archive:closed", "H-4", "an archived session takes no events and no change: 409, no retry"),
    R("sessions:guards", "B.3", "a running session is neither archived nor deleted: 400"),
    R("sessions:delete", "A.4", "delete removes record and events, leaves agent and environment"),
    R("sessions:refused-parts", "ours", "resources and vaults are refused by name, never ignored"),
    R("sessions:budget", "A.4", "a budget is shown, replaced and removed; session.updated says so"),
    R("sessions:budget:amount", "B.3", "whole US cents above zero, as a decimal string without leading zeros"),
    R("sessions:budget:refused", "H-22", "model_not_budgetable, budget_create_only and budget_not_raised are 400s"),
    R("sessions:resources", "A.7", "mounted files, repositories, memory", deferred="EXT: a later step"),
    R("sessions:vaults", "A.8", "credentials", deferred="EXT: a later step"),
    # -- threads: A.6, the primary one ---------------------------------------------------------------
    R("threads:primary", "A.6", "the primary thread is listed and retrieved with its status, stats and usage"),
    R("threads:filters", "A.6", "statuses[] filters threads; another thread id is a 404"),
    R("threads:archive", "A.6", "the primary thread cannot be archived", divergence="400: archive the session instead"),
    R("threads:events", "A.6", "the primary thread's history and stream are the session's"),
    R("threads:children", "A.6", "threads of delegated agents", deferred="EXT: a later step"),
    # -- events: A.5, B.1, B.2, B.3, E.4 -------------------------------------------------------------
    R("events:order:text-turn", "B.3", "running, thread running, message, request, answer, thread idle, usage, idle"),
    R("events:order:tool-turn", "H-14", "tool uses stand before their request's end, results between requests"),
    R("events:order:spans", "B.3", "every model request has its end, naming its start"),
    R("events:thread-first", "B.3", "the first thread status names the primary thread"),
    R("events:ids", "0", "ids are unique and processed_at strictly increases along the log"),
    R("events:thinking", "B.2", "thinking is a mark without text, and goes back to the model signed"),
    R("events:text:empty", "B.2", "an answer without text is no message"),
    R("events:send:echo", "B.1", "a send is answered with the stored events, ids and processed_at null"),
    R("events:send:batch", "B.1", "several events of one request keep their order, all or none"),
    R("events:send:validation", "B.1", "unknown types, empty or blank content and redacted blocks are 400s"),
    R("events:send:content", "B.1", "text, image and document blocks reach the model"),
    R("events:send:unavailable", "ours", "outcomes, system messages and user.tool_result are refused by name"),
    R("events:list:filters", "A.5", "types[] and created_at filter; only the documented types are values"),
    R("events:list:order", "A.5", "asc by default, desc on request"),
    R("events:list:cursors", "A.5", "pages join without gap or repeat, in both orders"),
    R("events:list:queued", "H-3", "a waiting message is listed last, with processed_at null, and once"),
    R("events:queue", "B.3", "messages sent during a turn wait and follow in order, also several at once"),
    R("events:queue:bounded", "ours", "a full queue is a 429 with retry-after and stores nothing"),
    R("events:pure-function", "B.4", "the model is shown what the log says, in the log's order"),
    R("events:custom:round-trip", "C.3", "a custom tool use blocks; its result is processed on receipt and resumes"),
    R("events:custom:early", "B.3", "a custom result may come before the idle event"),
    R("events:custom:error", "B.1", "is_error and omitted content reach the model"),
    R("events:confirm:allow", "B.3", "an asked call waits; allow runs it"),
    R("events:confirm:deny", "B.3", "deny does not run it; the model reads the deny_message"),
    R("events:confirm:rules", "B.1", "deny_message is only for deny; only asked calls take a confirmation"),
    R("events:settle:partial", "B.3", "settling some re-emits idle with the remainder; settling all resumes"),
    R("events:settle:while-waiting", "B.3", "a message sent while blocked waits for the answers"),
    R("events:answers:unknown", "H-6", "an answer to an unknown or foreign id is a 400"),
    R("events:answers:repeat", "H-6", "an exact repeat gets the first echo; a different second answer is a 400"),
    R("events:interrupt:thinking", "B.3", "an interrupt stops the model at once; its span ends; idle end_turn"),
    R("events:interrupt:tools", "B.3", "running calls end with error results"),
    R("events:interrupt:waiting", "B.3", "a pending wait is cleared; its calls are closed with errors"),
    R("events:interrupt:idle", "B.3", "on an idle session it does nothing"),
    R("events:interrupt:back-off", "B.3", "a session in its back-off stops waiting"),
    R("events:interrupt:next", "B.3", "messages after the interrupt, in the same request too, start the next turn"),
    R("events:retry", "E.4", "a transient failure is session.error retrying, rescheduled, and asked again"),
    R("events:retry:kinds", "E.4", "overloaded, rate-limited and failed requests have their own error types"),
    R("events:retry:exhausted", "E.4", "the last failure is exhausted; input is flushed; idle retries_exhausted"),
    R("events:retry:fatal", "E.4", "a failure that cannot be helped is not retried"),
    R("events:retry:mid-stream", "B.2", "half an answer never happened: only the repeated request's text is logged"),
    R("events:compaction", "B.2", "a full context is compacted: agent.thread_context_compacted; history keeps all"),
    R("events:compaction:summary", "ours", "a summary is a model request with its own span; the next begins with it"),
    R("events:compaction:refused", "ours", "a request that is refused as too long is made again after a summary"),
    R("events:compaction:limit", "E.4", "summaries that bring nothing: compaction_limit_reached_error, exhausted"),
    R("events:round-limit", "E.4", "too many rounds: tool_use_limit_reached_error, idle retries_exhausted"),
    R("events:refusal", "B.3", "a refusal ends the turn with its details"),
    R("events:budget:pause", "B.3", "at the cap, between model requests: thread idle, usage, idle, budget_reached"),
    R("events:budget:resume", "B.3", "raised or removed, the session goes on at once, with what waits"),
    R("events:budget:at-the-cap", "B.3", "answers and interrupts alone are taken; an interrupt leaves no trace"),
    R("events:budget:precedence", "B.3", "a pending ask goes before the pause"),
    R("events:usage", "B.2", "session.usage is cumulative and directly before session idle"),
    R("events:usage:cost", "B.3", "list cost is tokens at list price plus running time"),
    R("events:atomic-status", "B.3", "after the idle event the session reads idle, with the same usage"),
    R("events:system-message", "H-5", "system.message beside and between turns", deferred="EXT: a later step"),
    R("events:outcomes", "B.3", "outcomes", deferred="EXT: a later step"),
    R("events:mcp", "B.2", "MCP tool events", deferred="EXT: a later step"),
    # -- streams: B.2 (previews), B.4, B.5 -------------------------------------------------------------
    R("streams:framing", "B.5", "event name, one JSON data line, text/event-stream whatever Accept says"),
    R("streams:open", "B.4", "headers come before the first event; no replay; nothing later is lost"),
    R("streams:unknown", "E.3", "an unknown session, or bad parameters, fail with JSON before the stream"),
    R("streams:pair", "H-2", "queued and processed copies of a client event share their id"),
    R("streams:order", "B.4", "a stream's order is the log's"),
    R("streams:recipe", "B.4", "stream, then list, then skip seen ids: no gap, from any moment of a turn"),
    R("streams:keep-alive", "B.5", "an idle stream carries comments"),
    R("streams:resume:header", "ours", "Last-Event-ID resumes after that event without loss or repeat"),
    R("streams:resume:query", "ours", "?after= does the same; a foreign id is a 400"),
    R("streams:many", "B.4", "several streams of one session see the same"),
    R("streams:ends", "B.5", "a deleted or terminated session's stream ends after saying so"),
    R("streams:deltas:opt-in", "B.2", "previews go only to connections that asked, of the types asked for"),
    R("streams:deltas:prefix", "B.2", "deltas are a prefix of the final text under the final id; indices from 0"),
    R("streams:deltas:accumulate", "B.2", "the SDK's accumulator builds the final message from a stream"),
    R("streams:deltas:thinking", "B.2", "agent.thinking is previewed by its start only"),
    R("streams:deltas:broken", "B.2", "after an error the request's end closes the preview; no delta follows it"),
    R("streams:deltas:history", "B.2", "previews are never in history and never replayed"),
    R("streams:deltas:invalid", "B.2", "an unknown value, or more than 100, is a 400"),
    R("streams:disconnect", "ours", "a client that leaves stops nothing"),
    # -- tools: C.1, C.3 --------------------------------------------------------------------------------
    R("tools:bash", "C.1", "stdout and stderr merged; a non-zero exit is an error result"),
    R("tools:bash:persists", "C.1", "cwd and variables survive calls, turns and the idle between them"),
    R("tools:bash:timeout", "C.1", "timeout_ms stops a command; the shell then wants restart:true"),
    R("tools:read", "C.1", "raw text; view_range is 1-based and inclusive, an end <= 0 is the end"),
    R("tools:read:image", "C.1", "an image comes back as an image block, and reaches the model"),
    R("tools:write", "C.1", "writes with parents and says how many bytes"),
    R("tools:edit", "C.1", "one exact match unless replace_all; says how many replacements"),
    R("tools:glob", "C.1", "absolute paths, newest first; a fixed text for nothing"),
    R("tools:grep", "C.1", "path:line:text lines; a fixed text for nothing"),
    R("tools:large-output", "C.1", "over 100 000 characters: a preview and the path of a file with all of it"),
    R("tools:parallel", "C.1", "parallel calls run side by side; each gets one result"),
    R("tools:disabled", "C.1", "a disabled or unknown tool is denied before any policy and not offered to the model"),
    R("tools:bad-input", "C.1", "input that does not fit is an error result naming the field"),
    R("tools:definitions", "C.1", "the model is offered enabled built-ins and custom tools, nothing else"),
    R("tools:isolation", "C.1", "sessions do not see each other's files; archiving ends the sandbox, not the log"),
    R("tools:auto-policy", "C.2", "auto without a judge asks, saying indeterminate"),
    R("tools:runner", "C.3", "the SDK's own tool_runner answers custom tools, confirmations included"),
    R("tools:web", "C.1", "web_fetch and web_search", deferred="never offered to the model yet"),
    # -- brains: several of them, declared (docs/brains.md) ------------------------------------------------
    R("brains:unknown", "ours", "an unknown model is a 404 that names the brains there are"),
    R("brains:named", "ours", "a brain is found by its name, its id or an alias, and is told its own model"),
    R("brains:auto", "ours", "auto and auto:ROLE let the policy choose for each request; the log says why"),
    R("brains:fallback", "ours", "a brain that is down is replaced by its fallback; the log says so"),
    R("brains:longest-answer", "ours", "no brain is asked for an answer longer than it can make"),
    R("brains:undeclared", "ours", "without declared brains every model is taken, and the log has no field more"),
    R("brains:versions", "ours", "versions get the sessions that their weights say; a session stays with its version"),
    R("brains:rollback", "ours", "a version that breaks its bounds is taken back, and its sessions move once"),
    # -- messages and models: brains without sessions (docs/brains.md) -------------------------------------
    R("messages:create", "ours", "a message comes whole, as the model server would give it"),
    R("messages:stream", "ours", "or in named frames, as it is made, with pings; the SDK builds the same message"),
    R("messages:brain-header", "ours", "x-hecaton-brain names the brain that answers"),
    R("messages:as-sent", "ours", "a Messages-API server is shown the client's own body, but for the model's name"),
    R("messages:strict", "ours", "what the SDK's types do not have is refused by name"),
    R("messages:errors", "ours", "failures are the API's own errors: by status, once a stream began as its last event"),
    R("messages:disconnect", "ours", "a client that leaves ends the generation"),
    R("messages:count-tokens", "ours", "tokens are counted by the brain that is named"),
    R("messages:routed", "ours", "names, ids, aliases, auto and fallbacks hold for messages as for sessions"),
    R("models:list", "A.10", "brains are listed as models, in pages by after_id and before_id"),
    R("models:retrieve", "A.10", "a brain is found by every name it has; an unknown one is a 404 that names them"),
    # -- platform: the same on Ray, and through crashes (the issue) -----------------------------------------
    R("platform:many-sessions", "ours", "many sessions run at once and do not mix"),
    R("platform:owners", "ours", "several harnesses and gateways act as one server"),
    R("platform:fair-brains", "ours", "one key's many sessions do not delay another key's one at a busy model"),
    R("platform:brain-lost", "ours", "a brain that dies in mid-answer is replaced without a trace in the log"),
    R("platform:context", "ours", "a brain replica is sent what is new of a conversation; all of it when it was lost"),
    R("platform:ready", "ours", "readiness and metrics report on every part"),
    R("platform:crash:log", "ours", "after kill -9 of everything every committed event is there, unchanged"),
    R("platform:crash:resume", "ours", "an interrupted session goes on by itself after a restart, and finishes"),
    R("platform:crash:host", "ours", "a call whose sandbox host died is not run again; the model is told so"),
    R("platform:crash:owner", "ours", "a call goes on while its session's harness is replaced, and runs once"),
    R("platform:crash:fleet", "ours", "sessions go on when the keeper of the hosts dies, even together with a host"),
    R("platform:pause:host", "ours", "a sandbox host that is stopped for ten seconds loses nothing"),
    R("platform:stop", "ours", "SIGTERM ends the platform cleanly; sessions go on at the next start"),
    R("platform:no-survivors", "ours", "no process outlives the platform, whether it is asked or killed"),
)  # fmt: skip

REQUIREMENTS: dict[str, Requirement] = {each.id: each for each in _ALL}
assert len(REQUIREMENTS) == len(_ALL), "two requirements share an id"


def requirement(*ids: str) -> Callable[[F], F]:
    """Tie a test to what it holds. Raises KeyError for an id that the manifest does not have."""
    for each in ids:
        if each not in REQUIREMENTS:
            raise KeyError(f"no requirement {each!r} in tests/conformance/requirements.py")
    return pytest.mark.requirement(*ids)
