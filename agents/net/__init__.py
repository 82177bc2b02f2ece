"""Connections that leave the platform: where they may go, and clients that go nowhere else."""
