"""The public archive: pages and search."""
