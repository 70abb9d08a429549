"""Tools for development, outside the layers of the product."""
