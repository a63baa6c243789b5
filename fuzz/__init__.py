"""Searches for files and bodies that break the server: ``make fuzz``."""
