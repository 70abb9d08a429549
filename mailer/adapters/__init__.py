"""Adapters to the outside world: rendering, SMTP, DNS, Redis, files and tokens."""
