"""The outside world behind plain functions and classes: renderers, relays, servers, tokens."""
