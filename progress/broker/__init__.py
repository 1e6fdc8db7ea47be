"""How events cross processes."""
