"""Train, prune and fine-tune the embedded demonstration network.

Took 65 minutes on one CPU core with bfloat16 instructions, in the mixed precision of which the shipped file was made.
The network is a ResNet8 (0.4 M parameters), adversarially trained on all of CIFAR-10, pruned to 90 % by LAMP in one
shot, and fine-tuned adversarially under the mask:

    python scripts/train_demo_network.py --data-dir DIR --output apsite/demo/resnet8_lamp_90.safetensors

`DIR` holds the official binary version, ``cifar-10-batches-bin``. The dense network is written only when
``--keep-dense FILE`` asks for it; an existing dense file is reused, so that pruning can be repeated alone.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from apsite.baselines import pruning, training
from apsite.evaluation.checkpoints.networks.registry import layouts
from apsite.evaluation.testsets import cifar10
from apsite.progress import PlainReporter
from apsite.vocabulary import Dataset

SPARSITY = 0.90
DENSE = training.Recipe(epochs=24, peak_learning_rate=0.2, steps=2, step_size=6 / 255, seed=0)
FINETUNE = training.Recipe(epochs=14, peak_learning_rate=0.1, steps=3, step_size=4 / 255, weight_decay=1e-4, seed=1)


def main() -> None:
    """Run the three steps and write the pruned network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="file of the pruned network")
    parser.add_argument("--keep-dense", type=Path, help="file of the dense network, written or reused")
    arguments = parser.parse_args()

    images, labels = cifar10.read_training(arguments.data_dir)
    reporter = PlainReporter(sys.stderr)
    torch.manual_seed(DENSE.seed)
    network = layouts()["resnet8"].build(Dataset.CIFAR10)
    if arguments.keep_dense and arguments.keep_dense.exists():
        network.load_state_dict(load_file(arguments.keep_dense))
    else:
        training.train(network, images, labels, DENSE, reporter=reporter)
        if arguments.keep_dense:
            save_file(network.state_dict(), arguments.keep_dense)

    masks = pruning.global_masks(pruning.lamp_scores(pruning.prunable_weights(network)), SPARSITY)
    training.train(network, images, labels, FINETUNE, masks=masks, reporter=reporter)
    save_file(network.state_dict(), arguments.output)


if __name__ == "__main__":
    main()
