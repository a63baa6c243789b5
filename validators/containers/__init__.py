"""The file formats around the coded pictures: one reader for each, written from its specification.

A reader goes through the structure of a file once, decodes nothing, and returns a ``Structure``. It refuses a
file that is malformed, out of order, cut off or beyond a limit, unless viewers show its picture all the same.
"""
