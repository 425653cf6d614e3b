"""Package data of the demonstration: 256 CIFAR-10 test images and a pruned, adversarially trained ResNet8.

Images: the first 256 of the CIFAR-10 test set, in order, as one lossless PNG of 16 x 16 tiles.
Source: Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009.
"""
