"""The ``transformers`` engine: a Hugging Face model in the replica's own process."""
