"""The built-in web tools, which this server runs itself (spec C.1, ADR 0028)."""
