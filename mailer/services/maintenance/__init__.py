"""Retention, MX look-ups and health."""
