"""The pages on which staff sign in and look after accounts."""
