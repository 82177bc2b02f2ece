"""How a round goes: platforms, clients, what is observed and recorded."""
