"""A discrete-event model of both topologies, to plan for loads that no machine at hand can carry."""
