"""What the command line does: each command in its own module, over the public API only."""
