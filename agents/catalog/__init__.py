"""Domain rules of agents and environments: plain functions from parsed requests to resolved resources."""
