"""Stores of image bytes; ``base`` is the protocol."""
