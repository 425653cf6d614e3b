"""Pruning criteria: what each removes first, and those that learn it from the robust loss."""
