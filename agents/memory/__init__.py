"""Memory stores: text that outlives a session, versioned, and mounted as a directory where an agent works."""
