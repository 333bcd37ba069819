"""A stored model to a file that can be run elsewhere."""
