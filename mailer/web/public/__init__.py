"""Pages for readers: subscription, preferences, archive."""
