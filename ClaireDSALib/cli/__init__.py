"""The claire-dsa command line."""
