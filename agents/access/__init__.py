"""Who may do what: API keys, their scopes, and the workspaces that keep tenants apart (docs/security.md)."""
