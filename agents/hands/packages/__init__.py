"""Packages of environments: installed once in a sandbox of their own, then mounted read-only into every other."""
