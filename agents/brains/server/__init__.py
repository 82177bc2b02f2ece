"""The engine that runs an inference server beside a replica; see engine.py and docs/brains.md."""
