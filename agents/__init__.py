"""The domain of Hecaton in plain Python: sessions, brains, hands, store and API. Nothing here imports Ray."""

__version__ = "0.1.0"
