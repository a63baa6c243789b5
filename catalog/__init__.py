"""Stores of records; ``base`` is the protocol."""
