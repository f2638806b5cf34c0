"""Helpers that stand by themselves."""
