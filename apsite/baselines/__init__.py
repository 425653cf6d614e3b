"""Baselines of our own: training, pruning, fine-tuning, and series of these."""
