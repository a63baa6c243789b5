"""The decoders, one module for each format, and a bound on the memory that all decodes take together."""
