"""Censuses of the network families: which weight tensors a dense network of each has, and what a network is next to it.

A network is proven, not declared: what was counted in a checkpoint is compared with the census of its family, by the
evaluator before an attack and by `apsite validate` from the record alone, without torch. ``censuses.json`` is written
by :mod:`apsite.evaluation.checkpoints.networks.censuses` from the registered layouts.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import prod
from typing import NamedTuple

from apsite.records.counts import LayerAudit
from apsite.records.record import EvaluationRecord
from apsite.vocabulary import Architecture, Dataset

FILE = "censuses.json"


class WeightShape(NamedTuple):
    """Shape of one weight tensor.

    Attributes:
        kind: ``conv``, ``transposed``, ``linear`` or ``other``.
        filters: Output channels or units.
        channels: Input channels or units of one group.
        kernel: Size of a kernel along each dimension; empty for linear layers.
        stride: Steps along the same dimensions.
        groups: Groups of channels that do not see each other; 1 for ordinary layers.
    """

    kind: str
    filters: int
    channels: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    groups: int

    @property
    def weights(self) -> int:
        """Number of weights."""
        return self.filters * self.channels * prod(self.kernel)


@dataclass(frozen=True)
class RegisteredLayout:
    """What is known of a registered layout without building it.

    Attributes:
        methods: What the keys of the methods whose published checkpoints have it begin with.
        parameters: Parameters of its dense network by number of classes, masks multiplied in.
    """

    methods: tuple[str, ...]
    parameters: Mapping[int, int]


class DenseCounts(NamedTuple):
    """Size of a dense network: parameters, and multiply-accumulates for one image."""

    parameters: int
    macs: int


@dataclass(frozen=True)
class Census:
    """Weight tensors of a dense network of one family for images of one shape, in order of registration.

    Attributes:
        layouts: Registered layouts that have it, by name.
        shape: Channels, height and width of its images.
        macs: Multiply-accumulates for one image.
        layers: Its weight tensors.
    """

    layouts: Mapping[str, RegisteredLayout]
    shape: tuple[int, int, int]
    macs: int
    layers: tuple[WeightShape, ...]

    def count(self, unit: str) -> int:
        """Number of ``weights``, or of ``filters``, ``channels`` or ``kernels`` of its convolutions."""
        if unit == "weights":
            return sum(layer.weights for layer in self.layers)
        if unit == "kernels":
            return sum(layer.filters * layer.channels for layer in self.layers if prod(layer.kernel) > 1)
        return sum(getattr(layer, unit) for layer in self.layers if layer.kernel)


@dataclass(frozen=True)
class Membership:
    """The dense network that a counted one is, or is a narrower form of.

    Attributes:
        census: That of the dense network.
        narrowed: Whether filters or channels were removed from the network itself instead of set to zero.
    """

    census: Census
    narrowed: bool


def censuses(architecture: Architecture, dataset: Dataset) -> tuple[Census, ...]:
    """Censuses of a family for the images and classes of a dataset, in order of preference; empty where there are none.

    >>> [census.count("weights") for census in censuses(Architecture.RESNET8, Dataset.CIFAR10)]
    [411040]
    """
    return tuple(
        Census(one.layouts, one.shape, one.macs + (last.weights - one.layers[-1].weights), (*one.layers[:-1], last))
        for one in _read().get(architecture, ())
        if one.shape == dataset.shape
        for last in [one.layers[-1]._replace(filters=dataset.classes)]
    )


def layout_macs(layout: str) -> int:
    """Multiply-accumulates of a registered layout for one image, of the smallest that it is for.

    >>> layout_macs("resnet8")
    13936192
    """
    return next(census.macs for family in _read().values() for census in family if layout in census.layouts)


def membership(
    layers: Sequence[LayerAudit], macs: int, architecture: Architecture, dataset: Dataset
) -> Membership | None:
    """What a counted network is in its family; ``None`` if it is not of this family.

    A network is of a family if it has the same weight tensors, or if one can be matched with each of them, in order,
    that has the same kind and kernel and no more filters and channels. A dense network of another family, such as a
    WRN-28-4 next to a WRN-28-10, is none with filters removed. Records without shapes of tensors, as version
    1 of the format had them, are compared by number of weights, filters and channels.
    """
    dense = _dense(layers, macs, architecture, dataset)
    if dense is not None:
        return Membership(dense, narrowed=False)
    known = all(layer.kind is not None for layer in layers)
    mine = [(_kind(layer, known), layer.filters or 0, layer.channels or 0) for layer in layers]
    family = censuses(architecture, dataset)
    narrower = [census for census in family if known and macs < census.macs and _fits(mine, census)]
    if narrower and _other(layers, macs, architecture, dataset):
        return None
    return Membership(min(narrower, key=lambda census: census.count("weights")), narrowed=True) if narrower else None


def _dense(layers: Sequence[LayerAudit], macs: int, architecture: Architecture, dataset: Dataset) -> Census | None:
    """The census of a family that is exactly that of a counted network."""
    known = all(layer.kind is not None for layer in layers)
    mine = Counter((_kind(layer, known), layer.filters, layer.channels) for layer in layers)
    for census in censuses(architecture, dataset):
        whole = Counter((_kind(layer, known), layer.filters, layer.channels) for layer in census.layers)
        if mine == whole and macs == census.macs:
            return census
    return None


def _other(layers: Sequence[LayerAudit], macs: int, architecture: Architecture, dataset: Dataset) -> str | None:
    """Name of another family of which a counted network is a dense one."""
    others = (one for one in Architecture if one is not architecture and _dense(layers, macs, one, dataset))
    return next((one.label for one in others), None)


def dense_network(record: EvaluationRecord) -> Census | None:
    """Census of the dense network of a record; ``None`` without an audit, or if its network is not of its family."""
    if record.audit is None:
        return None
    found = membership(record.audit.layers, record.audit.macs, record.architecture, record.dataset)
    return found.census if found else None


def dense_counts(record: EvaluationRecord) -> DenseCounts | None:
    """Size of the network of a record before pruning; ``None`` for networks of no family that nobody counted.

    It is that of the counted network if pruning left its shape. Where filters were removed from the network itself, or
    nobody counted it, it is that of the registered layout: the one that the record names, else the one of the method's
    published checkpoints, else the first of the family for this dataset.
    """
    counted = record.audit
    found = membership(counted.layers, counted.macs, record.architecture, record.dataset) if counted else None
    if counted and (found is None or not found.narrowed):
        return DenseCounts(counted.parameters, counted.macs)
    family = [found.census] if found else censuses(record.architecture, record.dataset)
    fitting = [
        (name, layout, census)
        for census in family
        for name, layout in census.layouts.items()
        if record.dataset.classes in layout.parameters
    ]
    named = [one for one in fitting if one[0] == record.checkpoint.layout]
    own = [one for one in fitting if record.method.startswith(one[1].methods)]
    for _, layout, census in (*named, *own, *fitting):
        return DenseCounts(layout.parameters[record.dataset.classes], census.macs)
    return None


def difference(layers: Sequence[LayerAudit], macs: int, architecture: Architecture, dataset: Dataset) -> str:
    """Why a network is not of a family, in words that follow "the network is not a ResNet18:"."""
    family = censuses(architecture, dataset)
    other = _other(layers, macs, architecture, dataset)
    if other is not None:
        return f"it is a {other}"
    if not family:
        return f"none is registered for images of {'x'.join(map(str, dataset.shape))}"
    nearest = min(family, key=lambda census: abs(len(census.layers) - len(layers)))
    found, weights = f"{len(layers)} tensors", sum(layer.weights for layer in layers)
    expected = f"{len(nearest.layers)} with {nearest.count('weights'):,}"
    reason = f"it has {found} of {weights:,} weights, {architecture.label} has {expected}"
    for mine, whole in zip(layers, nearest.layers, strict=False):
        if _kind(mine, known=True) != _kind(whole, known=True) or (mine.filters or 0) > whole.filters:
            kernel = "x".join(map(str, mine.kernel or ())) or "no"
            return f"{reason}; {mine.name} ({mine.filters} filters, {kernel} kernel) is the first that differs"
    return reason


def _kind(layer: LayerAudit | WeightShape, known: bool) -> Hashable:
    """What two tensors must share to be compared; the size of a kernel alone if no more is known of one of them."""
    if not known:
        return layer.weights // max(1, (layer.filters or 0) * (layer.channels or 0))
    return layer.kind, layer.kernel, layer.stride, (layer.groups or 1) > 1


def _fits(mine: Sequence[tuple[Hashable, int, int]], census: Census) -> bool:
    """Whether tensors of each kind, taken in order, are at most as wide as those of the census."""
    sizes: dict[Hashable, list[tuple[int, int]]] = defaultdict(list)
    for layer in census.layers:
        sizes[_kind(layer, known=True)].append((layer.filters, layer.channels))
    if len(mine) != len(census.layers):
        return False
    for kind, filters, channels in mine:
        most = sizes[kind].pop(0) if sizes[kind] else (0, 0)
        if not (1 <= filters <= most[0] and 1 <= channels <= most[1]):
            return False
    return True


@cache
def _read() -> dict[Architecture, tuple[Census, ...]]:
    document = json.loads(files("apsite.records").joinpath(FILE).read_text(encoding="utf-8"))
    return {
        Architecture(name): tuple(
            Census(layouts, tuple(shape), macs, tuple(_shape(*it) for it in one["layers"]))
            for one in family
            for layouts in [{name: _layout(**facts) for name, facts in one["layouts"].items()}]
            for shape, macs in one["macs"]
        )
        for name, family in document.items()
    }


def _layout(methods: list[str], parameters: dict[str, int]) -> RegisteredLayout:
    return RegisteredLayout(tuple(methods), {int(classes): count for classes, count in parameters.items()})


def _shape(kind: str, filters: int, channels: int, kernel: list[int], stride: list[int], groups: int) -> WeightShape:
    return WeightShape(kind, filters, channels, tuple(kernel), tuple(stride), groups)
