"""System messages in mid-conversation, for brains that take a system prompt only.

Moved there they keep their authority and lose their place. The prompt changes with each of them, so what a server has
cached of the conversation is read anew once.
"""

from __future__ import annotations

from dataclasses import replace

from agents.brains.port import BrainRequest, texts_in

_HEADING = "Added to these instructions in the course of the conversation, the newest last:"


def moved_to_the_prompt(request: BrainRequest) -> BrainRequest:
    """Return *request* with its system messages at the end of its system prompt."""
    remarks = [text for each in request.messages if each["role"] == "system" for text in texts_in(each["content"])]
    if not remarks:
        return request
    system = "\n\n".join([*([request.system] if request.system else []), _HEADING, *remarks])
    return replace(request, system=system, messages=[each for each in request.messages if each["role"] != "system"])
