"""Development tools, outside the layers of the product."""
