"""The file formats around the coded pictures: one reader for each, written from its specification.

A reader reads the structure of a file, decodes nothing, and returns a ``Structure``. It refuses a file that
is malformed, out of order, truncated or over a limit. It accepts a defect if viewers still show the picture.
"""
