"""The results as one table: the survey's figures exactly as printed, and nothing invented."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from apsite.catalogue import Catalogue, load_catalogue
from apsite.columns import COLUMNS, rows
from apsite.comparable import Judge
from apsite.export import robustbench, to_csv, to_json_rows, to_robustbench
from tests.builders import METHOD, MODEL, RIVAL, entry_document, own_document

DESIGN = (
    "model_key, method, name, pipeline, dataset, architecture, structure, sparsity, clean_accuracy, "
    "aa_robust_accuracy, hofmn_robust_accuracy, joint_robust_accuracy, n_samples, provenance, source, "
    "protocol, epsilon, ranked, rank, verified, measured_sparsity, parameters, nonzero_parameters, macs, effective_macs"
)
NAMES = DESIGN.split(", ")
PRINTED_PER_TABLE = {3: 60, 4: 24, 5: 52, 6: 18, 7: 20, 8: 12, 10: 6}


def read(text: str) -> list[dict[str, str]]:
    """Rows of a CSV text."""
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture(scope="module")
def published(benchmark_data: Catalogue) -> list[dict[str, str]]:
    """The survey's rows of the benchmark's own table, as text."""
    return [row for row in read(to_csv(benchmark_data)) if row["source"] == "Piras2024Adversarial"]


def test_the_columns_are_those_of_the_design(benchmark_data: Catalogue) -> None:
    """Names and order are a public contract."""
    assert [column.name for column in COLUMNS] == NAMES
    assert to_csv(benchmark_data).split("\n")[0] == ",".join(NAMES)
    assert len({column.meaning for column in COLUMNS}) == len(NAMES)


def test_csv_and_data_frame_are_the_same_table(benchmark_data: Catalogue) -> None:
    """The CSV is written without pandas, which takes longer to load than the table to write."""
    assert to_csv(benchmark_data) == benchmark_data.to_frame().to_csv(index=False, lineterminator="\n")


def test_the_survey_prints_192_results(printed_rows: list[dict[str, Any]]) -> None:
    """154 in the four leaderboards, 20 dense, 12 baselines, 6 on ImageNet."""
    assert Counter(row["table"] for row in printed_rows) == PRINTED_PER_TABLE
    assert sum(PRINTED_PER_TABLE[table] for table in (3, 4, 5, 6)) == 154
    assert len(printed_rows) == 192


def test_the_published_rows_are_exactly_as_printed(
    published: list[dict[str, str]], printed_rows: list[dict[str, Any]]
) -> None:
    def percent(field: str) -> Decimal | None:
        return Decimal(field) * 100 if field else None

    exported = [
        (
            row["name"], row["dataset"], row["architecture"], row["structure"], percent(row["sparsity"]),
            percent(row["clean_accuracy"]), percent(row["aa_robust_accuracy"]),
        )
        for row in published
    ]  # fmt: skip
    printed = [
        (
            row["method_name"], row["dataset"], row["architecture"], row["structure"], Decimal(row["sparsity_percent"]),
            row["clean"], row["robust"],
        )
        for row in printed_rows
    ]  # fmt: skip
    assert Counter(exported) == Counter(printed)


def test_each_published_record_names_its_table(benchmark_data: Catalogue, printed_rows: list[dict[str, Any]]) -> None:
    located = {
        (
            benchmark_data.entries[record.method].name,
            record.dataset.value,
            record.architecture.value,
            record.structure.value if record.structure else "",
            round(record.sparsity.declared * 100),
        ): record.provenance.location
        for record in benchmark_data.records.values()
        if record.provenance.source == "Piras2024Adversarial"
    }
    assert located == {
        (
            row["method_name"], row["dataset"], row["architecture"], row["structure"], row["sparsity_percent"],
        ): f"Table {row['table']}"
        for row in printed_rows
    }  # fmt: skip


def test_the_rows_say_what_they_are(published: list[dict[str, str]], benchmark_data: Catalogue) -> None:
    sizes = {"cifar10": "10000", "svhn": "26032", "imagenet": ""}
    for row in published:
        assert row["model_key"].startswith(f"{row['method']}_")
        assert row["pipeline"] == benchmark_data.entries[row["method"]].pipeline.stage.value
        assert row["provenance"] == "published"
        assert row["n_samples"] == sizes[row["dataset"]]


def test_unknown_values_are_empty_fields(published: list[dict[str, str]]) -> None:
    for row in published:
        assert row["hofmn_robust_accuracy"] == row["joint_robust_accuracy"] == ""
        dense = row["model_key"].endswith("_dense")
        assert (row["structure"] == "") is dense
        assert (row["sparsity"] == "0.0") is dense
    unknown = [row for row in published if row["clean_accuracy"] == ""]
    assert len(unknown) == PRINTED_PER_TABLE[8] + PRINTED_PER_TABLE[10]


def test_the_tiny_table_is_known(tiny_data: Path) -> None:
    lines = to_csv(load_catalogue(tiny_data)).split("\n")
    tail, resnet = "published,Piras2024Adversarial,piras-2024,8/255", "11173962,,555422720,"
    own = "verified,Jane Doe,custom,8/255,False,,True,0.9002001190933429,11165352,1115201,555422720,55431187"
    network = "after,cifar10,resnet18,unstructured"
    assert lines[1:] == [
        f"{RIVAL}_R18_CIFAR10_US_95,{RIVAL},Rival,{network},0.95,0.8,0.45,,,10000,{tail},True,1,False,,{resnet}",
        f"{MODEL},{METHOD},Tiny,{network},0.9,0.75,0.375,0.375,0.25,8,{own}",
        f"{METHOD}_R18_CIFAR10_US_95,{METHOD},Tiny,{network},0.95,0.8,0.4,,,10000,{tail},True,2,False,,{resnet}",
        f"{METHOD}_V16_SVHN_dense,{METHOD},Tiny,after,svhn,vgg16,,0.0,0.8,,,,26032,{tail},False,,False,,"
        "15311818,,313788928,",
        "",
    ]


def test_the_json_rows_hold_the_same_values(tiny_data: Path) -> None:
    catalogue = load_catalogue(tiny_data)
    exported = json.loads(to_json_rows(catalogue))
    assert all(list(row) == NAMES for row in exported)
    for row, text in zip(exported, read(to_csv(catalogue)), strict=True):
        for name in NAMES:
            assert (row[name] is None) == (text[name] == "")
            if isinstance(row[name], float):
                assert row[name] == float(text[name])
            elif row[name] is not None:
                assert str(row[name]) == text[name]
    dense = exported[-1]
    assert (dense["structure"], dense["sparsity"], dense["aa_robust_accuracy"]) == (None, 0.0, None)


def test_the_frame_has_numbers_where_numbers_are(benchmark_data: Catalogue) -> None:
    """Also in columns where every value is unknown, so that arithmetic works on all of them."""
    frame = benchmark_data.to_frame()
    assert list(frame.columns) == NAMES
    assert len(frame) == len(benchmark_data.records)
    assert {name for name in NAMES if frame[name].dtype == "float64"} == {
        "sparsity", "measured_sparsity", *(name for name in NAMES if name.endswith("_accuracy")),
    }  # fmt: skip
    assert {name for name in NAMES if frame[name].dtype == "Int64"} == {
        "n_samples", "rank", "parameters", "nonzero_parameters", "macs", "effective_macs",
    }  # fmt: skip
    assert {name for name in NAMES if frame[name].dtype == "bool"} == {"ranked", "verified"}
    assert (frame["effective_macs"] / frame["macs"]).dropna().between(0, 1).all()
    assert not frame[~frame["ranked"]]["rank"].notna().any()
    imagenet = frame[frame["dataset"] == "imagenet"]
    assert imagenet["n_samples"].isna().all()
    assert imagenet["clean_accuracy"].isna().all()
    assert math.isclose(
        frame.set_index("model_key").loc["HARP_Zhao2023Holistic_R18_CIFAR10_US_90", "clean_accuracy"], 0.8338
    )


def test_no_record_is_a_table_with_a_header() -> None:
    empty = Catalogue(Path(), {}, {})
    assert to_csv(empty) == ",".join(NAMES) + "\n"
    assert json.loads(to_json_rows(empty)) == []
    assert empty.to_frame().dtypes[["clean_accuracy", "rank", "ranked"]].tolist() == ["float64", "Int64", "bool"]


def test_ranks_are_those_of_the_judge(benchmark_data: Catalogue) -> None:
    """They count methods alone: a baseline, a reduced run and a dense network have none."""
    exported = {row["model_key"]: row["rank"] for row in rows(benchmark_data) if row["ranked"]}
    assert exported == Judge(benchmark_data).ranks
    assert len(exported) > 150
    assert {row["rank"] for row in rows(benchmark_data) if not row["ranked"]} == {None}


def test_published_rows_have_the_size_of_their_network(published: list[dict[str, str]]) -> None:
    """That of the layout of the method's checkpoints; what is left after pruning is unknown and stays empty."""
    sizes = {(row["name"], row["architecture"]): (row["parameters"], row["macs"]) for row in published}
    assert sizes["HARP", "resnet18"] == ("11173962", "555422720")
    assert sizes["FlyingBird", "resnet18"] == ("11172170", "555422720")  # pre-activation
    assert sizes["HARP", "vgg16"] == ("15311818", "313788928")
    assert sizes["Li20", "vgg16"] == ("14987722", "313463808")
    assert sizes["MAD", "vgg16"] == ("14724042", "313201664")  # masks multiplied in
    assert sizes["HYDRA", "resnet50"] == ("25557032", "4089184256")
    assert all(all(size) for size in sizes.values())
    assert {row["nonzero_parameters"] + row["effective_macs"] + row["measured_sparsity"] for row in published} == {""}


def test_own_runs_have_their_counts(benchmark_data: Catalogue) -> None:
    own = [row for row in rows(benchmark_data) if row["provenance"] != "published"]
    assert len(own) == sum(record.samples is not None for record in benchmark_data.records.values()) > 13
    for row in own:
        audit = benchmark_data.records[row["model_key"]].audit
        assert audit is not None
        assert (row["parameters"], row["macs"]) == (412_586, 13_936_192)
        assert (row["nonzero_parameters"], row["effective_macs"]) == (audit.nonzero_parameters, audit.effective_macs)


ROBUSTBENCH_FIELDS = {
    "link", "name", "authors", "additional_data", "number_forward_passes", "dataset", "venue", "architecture", "eps",
    "clean_acc", "reported", "autoattack_acc", "footnote", "unreliable",
}  # fmt: skip


def test_robustbench_gets_its_fields(tiny_data: Path) -> None:
    exported = robustbench(load_catalogue(tiny_data))
    assert exported[MODEL] == {
        "link": "https://example.org/paper", "name": "Small Networks", "authors": "Jane Doe", "additional_data": None,
        "number_forward_passes": 1, "dataset": "cifar10", "venue": "ICLR 2024", "architecture": "ResNet18",
        "eps": "8/255", "clean_acc": "75.00", "reported": None, "autoattack_acc": "37.50",
        "footnote": "Tiny: 90% unstructured sparsity. Verified: Jane Doe.", "unreliable": False,
    }  # fmt: skip
    dense = exported[f"{METHOD}_V16_SVHN_dense"]
    assert dense["autoattack_acc"] is None
    assert dense["unreliable"] is None
    assert dense["footnote"] == "Tiny: not pruned (dense). Published: Piras2024Adversarial."
    assert json.loads(to_robustbench(load_catalogue(tiny_data))) == exported


def test_robustbench_gets_what_the_paper_reports_and_what_is_doubtful(data_folder: Callable[..., Path]) -> None:
    entry = entry_document()
    entry["reported"][0]["attack"] = "AutoAttack"
    record = own_document()
    record["warnings"].append({"code": "square-gains", "message": "Gradients may be masked."})
    exported = robustbench(load_catalogue(data_folder(entry, record)))[MODEL]
    assert exported["reported"] == "50.00"
    assert exported["unreliable"] is True


def test_robustbench_gets_every_record_of_the_benchmark(benchmark_data: Catalogue) -> None:
    exported = robustbench(benchmark_data)
    assert list(exported) == list(benchmark_data.records)
    for key, fields in exported.items():
        assert set(fields) == ROBUSTBENCH_FIELDS
        robust = benchmark_data.records[key].robust_accuracy
        assert fields["autoattack_acc"] == (None if robust is None else f"{Decimal(str(robust)) * 100:.2f}")
