"""Backing up all that must survive of a platform while it runs, and bringing it back on an empty machine."""
