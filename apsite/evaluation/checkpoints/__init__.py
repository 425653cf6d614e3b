"""From a checkpoint file to a network whose shape and sparsity are known."""
