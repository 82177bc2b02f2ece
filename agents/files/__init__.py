"""Uploaded files: what is known of them, and their bytes."""
