"""Loads looplite's fixtures for the tutorial's tests."""

pytest_plugins = ["looplite.testing"]
