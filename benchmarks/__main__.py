"""Measure speed: ``python -m benchmarks``; see ``--help``."""

from __future__ import annotations

import platform
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import torch

from apsite.protocol import Precision
from apsite.vocabulary import Attack
from benchmarks import attacks, cases, catalogue, clusters, curve_gaps, dropped_rows, gpu, minimum_norms, precision
from benchmarks.curve_gaps import Gap
from benchmarks.minimum_norms import Excess
from benchmarks.page_weights import PageWeights
from benchmarks.precision import Evidence
from benchmarks.report import write_page, write_results
from benchmarks.timing import CommandTime, Row

HERE = Path(__file__).parent
CPU = torch.device("cpu")
RESNET8 = HERE.parent / "baselines" / "resnet8"
RECORDED = {
    "dense": "LWM_Han2015Learning_R8_CIFAR10_dense",
    "global LWM 95 %": "LWM-Global_Han2015Learning_R8_CIFAR10_US_95",
    "LIS 95 %": "LIS_Sehwag2020Hydra_R8_CIFAR10_US_95",
    "SOLWM 95 %": "SOLWM_Ye2019Adversarial_R8_CIFAR10_US_95",
    "HGM 95 %": "HGM_Lim2021Robustness_R8_CIFAR10_US_95",
}
FILTERS = RESNET8 / "L1_Li2017Pruning_R8_CIFAR10_S_75.safetensors"


def demo_rows(options: dict) -> Iterator[Row]:
    """AutoAttack on the embedded network and on a dense one, there also with its search in bfloat16."""
    whole = dense(options["images"])
    quick = replace(whole, name=f"{whole.name}, search in bfloat16", precision=Precision.BF16)
    for case in (cases.demonstration(options["images"]), whole, quick):
        yield from attacks.autoattack_rows(case, options["groups"], parity=options["parity"])


def dense(images: int) -> attacks.Case:
    """The dense network of our baselines."""
    return cases.trained("ResNet8, dense", RESNET8 / f"{RECORDED['dense']}.safetensors", images)


def hofmn_rows(options: dict) -> Iterator[Row]:
    """HO-FMN on the embedded network."""
    yield attacks.hofmn_row(cases.demonstration(options["images"]), 40, 7)


def filters_rows(options: dict) -> Iterator[Row]:
    """AutoAttack on small networks with three quarters, and with a quarter, of the filters zero."""
    trained = cases.trained("ResNet8, 75 % of the filters zero", options["filters"], options["images"])
    whole = dense(options["images"])
    name = "ResNet8, 25 % of the filters zero (not trained again)"
    quarter = replace(whole, name=name, network=cases.without_filters(whole.network, 0.25))
    for case in (trained, quarter):
        yield from attacks.autoattack_rows(case, options["groups"], parity=options["parity"])


def resnet18_rows(options: dict) -> Iterator[Row]:
    """Time per pass on a network of usual size, with random weights."""
    for share in (0.0, 0.75, 0.9):
        case = cases.untrained(share, 8)
        yield attacks.autoattack_rows(case, 2, parity=False)[0]
    dense = cases.untrained(0.0, 16)
    for attack in Attack:
        yield attacks.efficiency_row(dense, CPU, attack)


def passes_rows(options: dict) -> Iterator[Row]:
    """Bare passes of the evaluated, the folded and the attacked network."""
    vgg16 = cases.untrained(0.0, 64, "VGG16", "base_vgg16_bn")
    for case in (cases.untrained(0.0, 64), vgg16, cases.demonstration(64)):
        yield from attacks.passes_rows(case)


def fab_rows(options: dict) -> Iterator[Row]:
    """FAB with and without the targets that it gives up, on our baselines and on one with masked gradients."""
    for name, file in (
        ("ResNet8, dense", RECORDED["dense"]),
        ("ResNet8, LAMP 90 %", "LAMP_Lee2021Layer_R8_CIFAR10_US_90"),
        ("ResNet8, LAMP 99 %", "LAMP_Lee2021Layer_R8_CIFAR10_US_99"),
        ("ResNet8, 75 % of the filters zero", "L1_Li2017Pruning_R8_CIFAR10_S_75"),
        ("ResNet8, 90 % of the filters zero", "L1_Li2017Pruning_R8_CIFAR10_S_90"),
    ):
        case = cases.trained(name, RESNET8 / f"{file}.safetensors", options["images"])
        yield dropped_rows.dropped_rows_row(case, CPU, 1)
        if name == "ResNet8, dense":
            yield dropped_rows.dropped_rows_row(cases.saturated(case), CPU, 1)


def three_networks(images: int) -> list[attacks.Case]:
    """A dense network, one without single weights and one without filters."""
    filters = cases.trained("ResNet8, 75 % of the filters zero", FILTERS, images)
    return [cases.demonstration(images), dense(images), filters]


def precision_rows(options: dict) -> Iterator[Evidence]:
    """What lower precision changes."""
    chosen = three_networks(options["images"])
    with tempfile.TemporaryDirectory() as kept:
        yield from precision.precision_rows(chosen, options["kept"] or Path(kept))


def distances_rows(options: dict) -> Iterator[Excess]:
    """Distances of HO-FMN above the best known ones, beside two libraries.

    They are not among the requirements: `pip install adv-lib foolbox`. The former imports torchvision and visdom too.
    """
    yield from minimum_norms.distances_rows(cases.demonstration(options["images"]))


def bf16_rows(options: dict) -> Iterator[Evidence]:
    """What a search in bfloat16 changes in four of our evaluations."""
    with tempfile.TemporaryDirectory() as kept:
        for case, found in recorded(options, "dense", "global LWM 95 %", "LIS 95 %", "SOLWM 95 %"):
            yield precision.recorded_row(case, found, options["kept"] or Path(kept))


def curve_rows(options: dict) -> Iterator[Gap]:
    """How much too high the curve of HO-FMN is, on images of three of our evaluations."""
    for case, found in recorded(options, "dense", "global LWM 95 %", "HGM 95 %"):
        yield from curve_gaps.curve_rows(case, found)


def recorded(options: dict, *names: str) -> Iterator[tuple[attacks.Case, dict[str, np.ndarray]]]:
    """Networks of the series of criteria, and what their records say of the images."""
    if options["data_dir"] is None:
        raise click.UsageError("the rows 'bf16' and 'curve' need --data-dir with CIFAR-10")
    for name in names:
        yield cases.recorded(f"ResNet8, {name}", RECORDED[name], options["images"], options["data_dir"])


def ray_rows(options: dict) -> Iterator[Row]:
    """Two workers against one."""
    yield clusters.two_workers_row(cases.demonstration(options["images"]))


def catalogue_rows(options: dict) -> Iterator[CommandTime | PageWeights]:
    """`validate` and `build` on synthetic catalogues, and the pages."""
    yield from catalogue.measurements(options["records"], options["build_up_to"], options["catalogues"])


def gpu_rows(options: dict) -> Iterator[Row]:
    """The whole protocol on a GPU, on all test images."""
    yield from gpu.gpu_rows(options["checkpoint"], options["data_dir"])


ROWS: dict[str, Callable[[dict], Iterator[Row | CommandTime | Evidence | Excess | Gap | PageWeights]]] = {
    "demo": demo_rows, "hofmn": hofmn_rows, "filters": filters_rows,
    "fab": fab_rows, "resnet18": resnet18_rows, "passes": passes_rows, "ray": ray_rows, "catalogue": catalogue_rows,
    "precision": precision_rows, "distances": distances_rows, "bf16": bf16_rows, "curve": curve_rows, "gpu": gpu_rows,
}  # fmt: skip


def machine(kind: str) -> str:
    """Name of what computes."""
    if kind == "gpu":
        return torch.cuda.get_device_name()
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    found = re.search(r"model name\s*:\s*(.+)", text)
    return f"{found[1].strip() if found else platform.processor() or 'CPU'} ({torch.backends.cpu.get_cpu_capability()})"


@click.command()
@click.option("--rows", default="demo,hofmn,filters,fab,resnet18,passes,ray,catalogue", show_default=True,
              help=f"Comma-separated: {', '.join(ROWS)}.")  # fmt: skip
@click.option("--images", default=128, show_default=True, help="Test images of the small networks.")
@click.option("--groups", default=2, show_default=True, help="Repetitions, each on its own part of the images.")
@click.option("--parity/--no-parity", default=False, show_default=True,
              help="Compare flags after every stage with the reference, in its order and with its draws.")  # fmt: skip
@click.option("--filters", type=click.Path(exists=True, path_type=Path), default=FILTERS,
              help="Checkpoint for the rows 'filters', a ResNet8.  [default: our baseline]")  # fmt: skip
@click.option("--checkpoint", type=click.Path(exists=True, path_type=Path), help="ResNet18 for the rows 'gpu'.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="CIFAR-10 for the rows 'gpu', 'bf16' and 'curve'.")
@click.option("--records", type=int, multiple=True, default=(168, 1_000, 5_000), show_default=True,
              help="Size of a catalogue for the rows 'catalogue'; may be given several times.")  # fmt: skip
@click.option("--build-up-to", default=5_000, show_default=True, metavar="RECORDS",
              help="Largest catalogue whose pages are built, for the rows 'catalogue'.")  # fmt: skip
@click.option("--catalogues", type=click.Path(file_okay=False, path_type=Path),
              help="Folder that keeps the catalogues.  [default: none]")  # fmt: skip
@click.option("--kept", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="Folder that keeps finished parts of the rows 'precision'.  [default: none]")  # fmt: skip
@click.option("--write/--no-write", default=True, show_default=True, help="Write results and docs/benchmarks.md.")
def main(rows: str, write: bool, **options: object) -> None:
    """Time apsite and others in turn on this machine, and print the ratios.

    Leave the machine alone meanwhile: two programs that share cores measure each other.
    """
    names = rows.split(",")
    for name in names:
        if name not in ROWS:
            raise click.UsageError(f"--rows {name!r} is not one of {', '.join(ROWS)}")
    for name in names:
        for row in ROWS[name](options):
            click.echo(str(row))
            if write:
                kind = "gpu" if name == "gpu" else "cpu"
                path = HERE / "results" / f"{re.sub(r'[^a-z0-9]+', '-', machine(kind).lower()).strip('-')}.json"
                write_results(path, [row], machine(kind), torch.get_num_threads())
                write_page(HERE.parent / "docs" / "benchmarks.md", sorted((HERE / "results").glob("*.json")))


if __name__ == "__main__":
    main()
