"""The demonstration: the embedded network on the embedded images, by the same path as every other evaluation."""

from __future__ import annotations

import shutil
from importlib import resources
from pathlib import Path

from apsite.errors import ApsiteError
from apsite.evaluation.runs.evaluate import Request
from apsite.evaluation.testsets.datasets import EMBEDDED
from apsite.keys import ModelKey
from apsite.protocol import Settings
from apsite.vocabulary import Architecture, Dataset, Granularity, Structure

KEY = ModelKey("LAMP_Lee2021Layer", Architecture.RESNET8, Dataset.CIFAR10, Structure.UNSTRUCTURED, 90)
"""Identity of the embedded network: LWM with LAMP's layer-wise sparsities, 90 % of the weights removed."""

NOTES = ("Demonstration network: a small ResNet8, far weaker than the ResNet18 and VGG16 models of the benchmark.",)


def network_path() -> Path:
    """File of the embedded network."""
    return Path(str(resources.files("apsite.demo").joinpath("resnet8_lamp_90.safetensors")))


def request(output: Path, n_examples: int) -> Request:
    """Evaluation of the embedded network: nothing of the protocol is reduced but the number of samples."""
    return Request(
        checkpoint=network_path(), key=KEY, granularity=Granularity.WEIGHT, data_dir=EMBEDDED,
        settings=Settings(n_examples=n_examples), output=output / "evaluations", run_dir=output / "runs",
        overwrite=True, source="the apsite maintainers", notes=NOTES,
    )  # fmt: skip


def copy_data(root: Path, output: Path) -> None:
    """Copy entries, records and guides to `output`, so that a site can be built there without touching the checkout.

    Raises:
        ApsiteError: If `root` has no data, or `output` is not a folder of this kind.
    """
    if not (root / "entries").is_dir():
        raise ApsiteError(
            f"{root}: has no folder 'entries' to build a site from; run this in a checkout of the repository, "
            "or evaluate alone with --no-site"
        )
    for name in ("entries", "evaluations", "docs"):
        if (root / name).is_dir():
            shutil.rmtree(output / name, ignore_errors=True)
            # Without the older versions of its own model: the demonstration's record is a first version.
            shutil.copytree(root / name, output / name, ignore=shutil.ignore_patterns(f"{KEY}.[0-9]*"))
    if (root / "mkdocs.yml").is_file():
        output.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / "mkdocs.yml", output / "mkdocs.yml")
