"""Pruning criteria: what each removes first, by the weights alone or learned from images under the robust loss."""
