"""Censuses of the registered layouts, from which ``apsite/records/censuses.json`` is written.

``python -m apsite.evaluation.checkpoints.networks.censuses`` writes it again after a layout was added.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from apsite.evaluation.checkpoints.audit import audit_network
from apsite.evaluation.checkpoints.networks.layers import multiply_out
from apsite.evaluation.checkpoints.networks.registry import layouts
from apsite.records import census


def document() -> dict[str, list[dict[str, Any]]]:
    """The censuses by network family; layouts with the same one share it."""
    families: dict[str, list[dict[str, Any]]] = {}
    for layout in layouts().values():
        network = layout.build(layout.datasets[0]).eval()
        multiply_out(network)
        audit = audit_network(network, torch.zeros(1, *layout.input_shape))
        layers = [[one.kind, one.filters, one.channels, one.kernel, one.stride, one.groups] for one in audit.layers]
        family = families.setdefault(layout.architecture.value, [])
        found = {"shape": layout.input_shape, "macs": audit.macs, "layers": layers}
        for other in family:
            if all(other[name] == value for name, value in found.items()):
                other["layouts"].append(layout.name)
                break
        else:
            family.append({"layouts": [layout.name], **found})
    return families


def text() -> str:
    """The file: one weight tensor a line."""
    written = json.dumps(document())
    return written.replace("[[", "[\n  [").replace("]], ", "]\n ], ").replace('], ["', '],\n  ["') + "\n"


if __name__ == "__main__":
    Path(census.__file__).with_name(census.FILE).write_text(text(), encoding="utf-8")
