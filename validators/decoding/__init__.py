"""The decoders, one file a format, and the bound of the memory that they take together."""
