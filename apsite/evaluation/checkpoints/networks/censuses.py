"""Censuses of the registered layouts, from which ``apsite/records/censuses.json`` is written.

``python -m apsite.evaluation.checkpoints.networks.censuses`` writes it again after a layout was added.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from apsite.evaluation.checkpoints.audit import multiply_accumulates, weight_shapes
from apsite.evaluation.checkpoints.networks.layers import multiply_out
from apsite.evaluation.checkpoints.networks.registry import Layout, layouts, method_keys
from apsite.records import census


def document() -> dict[str, list[dict[str, Any]]]:
    """The censuses by network family; layouts with the same one share it."""
    families: dict[str, list[dict[str, Any]]] = {}
    for layout in layouts().values():
        with torch.device("meta"):  # which costs neither memory nor time
            network = layout.build(layout.datasets[0]).eval()
            multiply_out(network)
            macs = [[shape, multiply_accumulates(network, torch.zeros(1, *shape))] for shape in layout.input_shapes]
        family = families.setdefault(layout.architecture.value, [])
        found = {"macs": macs, "layers": [list(shape) for shape in weight_shapes(network)]}
        for other in family:
            if all(other[name] == value for name, value in found.items()):
                other["layouts"][layout.name] = _facts(layout)
                break
        else:
            family.append({"layouts": {layout.name: _facts(layout)}, **found})
    return families


def _facts(layout: Layout) -> dict[str, Any]:
    """What keys of its methods begin with, and its parameters by number of classes, masks multiplied in."""
    parameters: dict[int, int] = {}
    for dataset in layout.datasets:
        if dataset.classes not in parameters:
            with torch.device("meta"):
                network = layout.build(dataset)
                multiply_out(network)
            parameters[dataset.classes] = sum(parameter.numel() for parameter in network.parameters())
    return {"methods": method_keys(layout), "parameters": parameters}


def text() -> str:
    """The file: one weight tensor a line."""
    written = json.dumps(document())
    written = written.replace("}}, ", "}},\n ")
    return written.replace('[["', '[\n  ["').replace("]], ", "]\n ], ").replace('], ["', '],\n  ["') + "\n"


if __name__ == "__main__":
    Path(census.__file__).with_name(census.FILE).write_text(text(), encoding="utf-8")
