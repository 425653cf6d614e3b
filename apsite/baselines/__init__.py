"""The project's baselines: training, pruning, fine-tuning, and series of them."""
