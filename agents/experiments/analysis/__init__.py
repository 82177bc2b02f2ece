"""From a trace to figures and comparisons."""
