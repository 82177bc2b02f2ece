"""The discrete-event model of a platform, and what it says of greater loads."""
