"""Vaults: credentials that sessions use and nobody sees (spec A.8)."""
