"""Writes what of the monitoring is made by code: the dashboards and the rules of the objectives."""
