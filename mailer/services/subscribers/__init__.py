"""Sign-up, preferences, unsubscribing, personal data and import."""
