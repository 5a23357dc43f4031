"""Thousands of studies in one go: resumable, one table, one page."""
