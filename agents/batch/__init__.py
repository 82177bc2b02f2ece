"""Batches: thousands of tasks through the sessions of a running platform, each with exactly one row of results."""
