"""Thin Ray shells over ``agents``: every actor and Serve deployment, and what binds them together."""
