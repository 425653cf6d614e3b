"""What tests of checkpoint files save, and how."""

from __future__ import annotations

import torch

STATE = {"conv.weight": torch.linspace(-1, 1, 108).view(4, 3, 3, 3), "bn.num_batches_tracked": torch.tensor(7)}


def saved(content, path, *, legacy=False):
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path
