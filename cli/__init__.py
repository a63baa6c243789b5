"""The commands of the operator: ``flask --app wsgi …``."""
