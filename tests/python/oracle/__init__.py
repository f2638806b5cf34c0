"""The `sqlite3` module as the oracle: the same calls on both, and everything that can be seen
compared.
"""
