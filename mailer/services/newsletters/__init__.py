"""Newsletters and their settings."""
