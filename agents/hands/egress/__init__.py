"""The one way out of a sandbox: an HTTP proxy of its own, which lets through what its environment allows."""
