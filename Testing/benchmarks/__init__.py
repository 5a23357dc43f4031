"""Benchmarks: ratios against named peers, every measurement in a process of its own.

``python -m Testing.benchmarks`` prints the table. One file per benchmark, ``bench_<name>.py`` with a tuple
``BENCHMARKS``; a new file is found by itself.
"""
