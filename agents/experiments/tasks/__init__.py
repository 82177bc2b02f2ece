"""Public benchmarks' gold trajectories as sessions."""
