"""The file formats around the coded pictures: one walker for each, written to its specification.

A walker goes over the structure of a file once, decodes nothing, and returns a ``Structure``. It
refuses what is malformed, out of order, cut short or beyond a budget.
"""
