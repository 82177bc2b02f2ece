"""Workers elsewhere: keys of self-hosted environments, the queue of their work, and this platform's own worker."""
