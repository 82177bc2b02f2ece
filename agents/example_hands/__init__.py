"""Three hands as a company would write them (``crm``, ``billing``, ``analytics``), to try hands with and to copy from.

Each module has an MCP server object: ``hecaton hands add agents.example_hands.crm:server --name crm``. They know
nothing of the platform but the keys of ``_meta`` that it sends and reads. See docs/example_hands.md.
"""
