"""Git repositories that sessions get copies of (spec A.7)."""
