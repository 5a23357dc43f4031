"""Thousands of studies in one go: resumable, one table, one page.

Results are content-addressed: one folder per unit of work, named after a hash of the pixels' files and of everything
that decides the answer, renamed into place when it is complete. Whatever is not such a folder is a cache.
"""
