"""All SQL. Functions take a session and never commit; ``Database.transaction`` does."""
