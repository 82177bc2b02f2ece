"""Tools that run on servers instead of in a session's sandbox: hands of this platform, and MCP servers elsewhere."""
