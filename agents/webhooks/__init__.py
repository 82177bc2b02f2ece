"""Telling other servers what happened here, by signed POST requests (the Standard Webhooks specification)."""
