"""Deployments: agents that start sessions by themselves, on a schedule or when somebody asks (spec A.11)."""
