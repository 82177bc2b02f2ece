"""Names of spans and attributes: OpenTelemetry's semantic conventions for GenAI, and ours where it has none.

The conventions' own constants are in a package that says of itself that it may change any day; a test compares.
"""

from __future__ import annotations

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
FINISH_REASONS = "gen_ai.response.finish_reasons"
TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS = "gen_ai.usage.cache_read.input_tokens"
CACHE_CREATION_TOKENS = "gen_ai.usage.cache_creation.input_tokens"
CONVERSATION = "gen_ai.conversation.id"
AGENT_ID = "gen_ai.agent.id"
AGENT_NAME = "gen_ai.agent.name"
AGENT_VERSION = "gen_ai.agent.version"
TOOL_NAME = "gen_ai.tool.name"
TOOL_TYPE = "gen_ai.tool.type"
TOOL_CALL = "gen_ai.tool.call.id"
ERROR_TYPE = "error.type"
HTTP_METHOD = "http.request.method"
HTTP_ROUTE = "http.route"
HTTP_STATUS = "http.response.status_code"

_PROVIDERS = {"claude": "anthropic"}

BRAIN = "hecaton.brain.id"
"""The brain (``name@version``) that answered."""
HAND = "hecaton.hand"
"""What ran a tool: an MCP server's or hand's name, ``sandbox``, ``worker``, ``web`` or ``custom``."""
THREAD = "hecaton.thread.id"
"""The thread of the session that asked, where it is not the primary."""
EVENT = "hecaton.event.id"
"""The event of the log that a span is for."""
STATUS = "hecaton.session.status"
STOP_REASON = "hecaton.stop_reason"
EVENTS = "hecaton.log.events"
POSITION = "hecaton.log.position"
LINK = "hecaton.link"
"""The link over which another process said what it did."""
REQUEST_ID = "hecaton.request.id"
RESULT = "hecaton.outcome.result"
"""What came of an evaluation of the session's outcome."""
DROPPED = "hecaton.dropped_spans"

TURN = "invoke_agent"
CHAT = "chat"
TOOL = "execute_tool"
EVALUATION = "evaluate_outcome"
APPEND = "append"
STATE = "session.status"
SEND_ROUTE = "/v1/sessions/{session_id}/events"
CREATE_ROUTE = "/v1/sessions"
MESSAGES_ROUTE = "/v1/messages"


def provider(engine: str) -> str:
    """Return the name that the conventions have for who is behind a brain's engine; others go by their own."""
    return _PROVIDERS.get(engine, engine)
