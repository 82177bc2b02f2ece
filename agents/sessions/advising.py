"""A coordinator's advisor: a model that its primary thread may ask, in a thread that ends with the answer (spec C.6).

The advisor's thread is like any other that was created: it has its own context, its model request is in its usage and
the session's budget, and its answer is a message. So a question outlives whoever owned the session when it was asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents.catalog.model_config import resolve_model

NAME = "anthropic.advisor"
"""The name of an advisor's threads (the SDK's field texts)."""
TOOL: dict[str, Any] = {
    "name": "ask_advisor",
    "description": "Ask your advisor, a model that has no tools and knows nothing of this conversation, for a second "
    "opinion: on a plan, a hard decision, or why something fails. Its answer comes as a message; go on with other work "
    "or end your turn meanwhile.",
    "input_schema": {
        "type": "object",
        "properties": {
            "question": {
                "type": "string",
                "description": "The question, with everything that the advisor must know to answer it.",
            }
        },
        "required": ["question"],
    },
}
_SYSTEM = (
    "You advise another agent that is at work. It tells you where it stands and asks you something. Answer to the "
    "point: what you recommend, why, and what you would check. You have no tools, and no more than it has told you; "
    "say what you would need to know."
)


def advisor_agent(model: str) -> dict[str, Any]:
    """Return the definition that a thread of the advisor has in its session."""
    return {
        "type": "advisor",
        "name": NAME,
        "model": resolve_model(model),
        "system": _SYSTEM,
        "tools": [],
        "mcp_servers": [],
        "skills": [],
    }


def advisor_wire(agent: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same as the API shows it."""
    return {"type": "advisor", "model": agent["model"]["id"]}
