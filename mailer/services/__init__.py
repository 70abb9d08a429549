"""Use cases, in packages that do not import each other. They communicate through database rows."""
