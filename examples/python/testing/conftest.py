"""Loads looplite's fixtures."""

pytest_plugins = ["looplite.testing"]
