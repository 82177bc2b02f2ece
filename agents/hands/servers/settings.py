"""Settings of the tools that servers run: the section ``mcp``."""

from __future__ import annotations

from pydantic import Field

from agents.settings_base import Section


class McpSettings(Section):
    """MCP servers that sessions use: hands of this platform, and servers elsewhere."""

    connect_timeout_seconds: float = Field(default=10.0, gt=0, le=120)
    """How long a model request waits for a server to say what it offers; then it goes out without its tools."""
    hand_start_seconds: float = Field(default=60.0, gt=0, le=600)
    """The same for a hand of this platform that was just added: its first replica installs packages, starts, and says
    what it offers. What was said once is kept: no request waits for a hand that sleeps."""
    call_timeout_seconds: float = Field(default=150.0, gt=0, le=86_400)
    """Longest time of one call, the wait in its server's queue included. Web tools are bound by it, too."""
    offer_seconds: float = Field(default=300.0, gt=0)
    """How long the list of a remote server's tools is good; sooner when the server says that it has changed."""
    idle_seconds: float = Field(default=300.0, gt=0)
    """A connection to a remote server that nobody has used for this long is closed."""
    max_connections: int = Field(default=256, ge=1)
    """Connections to remote servers per harness, one for each server and credential; the idlest go first."""
    max_calls: int = Field(default=64, ge=1)
    """Calls under way at once on one of them; more wait for their turn."""
    max_tools: int = Field(default=512, ge=1)
    """Tools that are taken of one remote server; the rest of its list is left out."""
    max_message_bytes: int = Field(default=32 * 1024 * 1024, ge=1024)
    """Largest message that is read from a remote server."""


class HandCacheSettings(Section):
    """Results of hands' tools that are annotated read-only and idempotent, kept by each harness (docs/web_tools.md)."""

    ttl_seconds: float = Field(default=60.0, ge=0)
    """How long a result is good, unless another tool of the hand is called before; 0 keeps none."""
    max_bytes: int = Field(default=64 * 1024 * 1024, ge=0)
    """Memory for them in one harness; those unused longest go first."""
