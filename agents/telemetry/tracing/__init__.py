"""Traces: one for each turn, made from what its log says and exported beside it; see docs/traces.md."""
