"""Hands: MCP server objects that this platform runs itself, as Serve applications (docs/hands.md)."""
