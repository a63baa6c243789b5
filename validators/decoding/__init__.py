"""The decoders: one file for each format, and the memory that they may take together."""
