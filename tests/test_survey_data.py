"""The entries and records against the survey's tables, which stand here as the survey prints them."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from apsite.catalogue import Catalogue
from apsite.documents.references import load_references
from apsite.entries import Entry
from apsite.validation import validate
from apsite.vocabulary import Architecture, Criterion, Dataset, Locality, Objective, Protocol, Stage, Structure
from tests.builders import write_document

# Table 1. Objectives are the numbers of the survey's bibliography; 0 is natural training, "n.s." not specified.
TABLE_1 = """
RADMM        A  12             12             1S     S,US  L    SOLWM
HYDRA        A  33             33             1S     US    L    LIS
Heracles     A  12             12             1S     S,US  G    LIS
HARP         A  12,14,35       12,14,35       1S     S,US  G    LIS
PwoA         A  12,14,36       5              1S     US    L    SOLWM
MAD          A  12             12,38          1S     US    G    LIS
Sehwag19     A  12             12             IT     S,US  L    LWM
RSR          A  12,40          n.s.           1S     US    G    RELWM
BNAP         A  12             12             1S,IT  S,US  G    LIS
RFP          A  43             43             1S     S     L    HGM
Deadwooding  A  n.s.           5,45           1S     US    G    SOLWM
FRE          A  14             14             IT     S     G    LIS
Luo23        A  12             12             1S     S     L    LIS
SR-GKP       A  0              0              1S     S     L    LIS
FSRP         A  12,14,35       12,14,35       1S     S     L    LIS
Cosentino19  B  12,45          12,45          IT     US    G    LWM
Li20         B  45             12             1S     US    G    LWM
Wang20       B  12             12             IT     US    G    LWM
RST          B  12             None           1S     US    L    LIS
RobustBird   B  12             12             IT     US    G    LWM
AWT          B  12             12             n.s.   US    n.s. LWM
TwinRep      D  12             -              -      S,US  G    RELWM
BCS-P        D  12,14,33,35,57 -              -      US    L,G  BCS
DNR          D  12             -              -      S,US  G    SOLWM
InTrain      D  38             -              -      S,US  G    LIS
FlyingBird   D  12             -              -      US    G    LWM
"""

# Table 2: AutoAttack, PGD, others, robustness curve, more than ten iterations.
TABLE_2 = """
RADMM        no  yes CW        no  yes
HYDRA        yes yes -         yes yes
Heracles     no  yes FGSM,CW   no  yes
HARP         yes yes CW        no  yes
PwoA         yes yes FGSM,CW   no  yes
MAD          yes yes FGSM,CW   no  yes
Sehwag19     no  yes -         no  n.s.
RSR          no  yes FGSM,ZOO  no  no
BNAP         no  yes -         no  yes
RFP          no  yes -         no  yes
Deadwooding  yes yes DeepFool  no  yes
FRE          no  yes -         no  no
Luo23        no  yes -         no  yes
SR-GKP       no  yes FGSM      no  no
FSRP         yes yes FGSM      no  yes
Cosentino19  no  yes FGSM      no  yes
Li20         no  yes FGSM      no  n.s.
Wang20       no  yes -         no  yes
RST          no  yes -         no  yes
RobustBird   yes yes CW        no  yes
AWT          no  yes -         no  yes
TwinRep      yes yes FGSM,BB   no  yes
BCS-P        yes yes FGSM,BB   no  yes
DNR          no  yes FGSM      no  yes
InTrain      no  yes CW        no  yes
FlyingBird   yes yes CW        no  yes
"""

# Table 9: name, network, structure, sparsity of the original paper, its PGD figure, the survey's AutoAttack figure and
# the sparsity at which the survey compares.
TABLE_9 = """
RADMM       ResNet18  US  93.75  47.00  43.68  90
RobustBird  ResNet18  US  90.00  49.09  43.35  90
RobustBird  ResNet18  US  95.00  47.53  44.60  95
TwinRep     ResNet18  US  90.00  49.30  42.93  90
TwinRep     ResNet18  US  95.00  47.10  41.47  95
FlyingBird  ResNet18  US  90.00  50.97  46.49  90
FlyingBird  ResNet18  US  95.00  49.62  46.10  95
RADMM       ResNet18  S   50.00  45.00  42.68  50
RADMM       ResNet18  S   75.00  44.00  40.79  75
RADMM       ResNet18  S   93.75  39.00  37.30  90
TwinRep     ResNet18  S   50.00  48.60  45.58  50
RADMM       VGG16     US  93.75  45.00  39.92  90
RobustBird  VGG16     US  90.00  47.09  41.62  90
FlyingBird  VGG16     US  90.00  48.45  43.95  90
RADMM       VGG16     S   50.00  42.00  39.67  50
RADMM       VGG16     S   75.00  41.00  37.74  75
RADMM       VGG16     S   93.75  35.00  31.79  90
"""

STAGES = {"A": Stage.AFTER, "B": Stage.BEFORE, "D": Stage.DURING}
TABLES = {
    3: (Dataset.CIFAR10, Structure.UNSTRUCTURED),
    4: (Dataset.CIFAR10, Structure.STRUCTURED),
    5: (Dataset.SVHN, Structure.UNSTRUCTURED),
    6: (Dataset.SVHN, Structure.STRUCTURED),
}


def rows(table: str) -> list[list[str]]:
    """Cells of a table."""
    return [line.split() for line in table.strip().splitlines()]


@pytest.fixture(scope="module")
def methods(benchmark_data: Catalogue) -> dict[str, Entry]:
    """Entries of the survey's taxonomy by name; a method that was added later is not among them."""
    return {entry.name: entry for entry in benchmark_data.methods() if entry.in_survey}


def reference_numbers(objectives: tuple[Objective, ...] | None) -> str:
    """A step's objectives as Table 1 prints them."""
    if objectives is None:
        return "n.s."
    references = load_references()
    numbers = [references[word.citation].number if word.citation else 0 for word in objectives]
    return ",".join(map(str, sorted(number or 0 for number in numbers))) or "None"


def codes(words: tuple[Any, ...] | None) -> set[str]:
    """Words as the codes of Table 1."""
    return {"n.s."} if words is None else {word.code for word in words}


@pytest.mark.parametrize("row", rows(TABLE_1), ids=lambda row: row[0])
def test_an_entry_is_its_line_of_table_1(methods: dict[str, Entry], row: list[str]) -> None:
    name, stage, first, second, schedule, structure, locality, criterion = row
    pipeline, specifics = methods[name].pipeline, methods[name].specifics
    assert pipeline.stage is STAGES[stage]
    steps = {step.name: reference_numbers(step.objectives) for step in pipeline.steps}
    if pipeline.stage is Stage.AFTER:
        assert steps == {"pretraining": first, "finetuning": second}
    elif pipeline.stage is Stage.BEFORE:
        assert steps == {"pruning": first, "training": second}
    else:
        assert steps == {"training": first}
        assert pipeline.schedule is None
    if pipeline.stage is not Stage.DURING:
        assert codes(pipeline.schedule) == set(schedule.split(","))
    assert codes(specifics.structure) == set(structure.split(","))
    assert codes(specifics.locality) == set(locality.split(","))
    assert specifics.criterion is Criterion(criterion)


def test_the_taxonomy_has_the_survey_s_counts(methods: dict[str, Entry]) -> None:
    assert list(methods) == sorted((row[0] for row in rows(TABLE_1)), key=str.lower)
    assert len(methods) == 26
    stages = Counter(entry.pipeline.stage for entry in methods.values())
    assert stages == {Stage.AFTER: 15, Stage.BEFORE: 6, Stage.DURING: 5}
    structures = Counter(word for entry in methods.values() for word in entry.specifics.structure)
    assert structures == {Structure.UNSTRUCTURED: 21, Structure.STRUCTURED: 13}


def test_localities_and_criteria_are_counted_from_table_1(methods: dict[str, Entry]) -> None:
    """The survey's text says 11 local and 15 global; its table has 10 and 16, one method being both, one neither."""
    localities = Counter(word for entry in methods.values() for word in entry.specifics.locality or ())
    assert localities == {Locality.LOCAL: 10, Locality.GLOBAL: 16}
    assert [name for name, entry in methods.items() if entry.specifics.locality is None] == ["AWT"]
    criteria = Counter(entry.specifics.criterion for entry in methods.values())
    assert {word.value: count for word, count in criteria.items()} == {
        "LIS": 11, "LWM": 7, "SOLWM": 4, "RELWM": 2, "HGM": 1, "BCS": 1,
    }  # fmt: skip


def test_granularity_fits_the_structure(methods: dict[str, Entry]) -> None:
    for entry in methods.values():
        units = {word.value for word in entry.specifics.granularity or ()}
        assert ("weight" in units) is (Structure.UNSTRUCTURED in entry.specifics.structure), entry.key
        assert bool(units - {"weight"}) is (Structure.STRUCTURED in entry.specifics.structure), entry.key


def test_the_two_baselines_are_marked(benchmark_data: Catalogue) -> None:
    baselines = {entry.name: entry for entry in benchmark_data.entries.values() if entry.baseline}
    for entry in (baselines["LAMP"], baselines["LWM"]):
        assert entry not in benchmark_data.methods()
        assert entry.audit is None
        assert entry.specifics.criterion is Criterion.LWM
        assert any("are assumed here" in note for note in entry.notes)


@pytest.mark.parametrize("row", rows(TABLE_2), ids=lambda row: row[0])
def test_an_audit_is_its_line_of_table_2(methods: dict[str, Entry], row: list[str]) -> None:
    verdicts = {"yes": True, "no": False, "n.s.": None}
    name, autoattack, pgd, others, curve, iterations = row
    audit = methods[name].audit
    assert audit is not None
    assert (audit.autoattack, audit.pgd) == (verdicts[autoattack], verdicts[pgd])
    assert audit.others == (() if others == "-" else tuple(others.split(",")))
    assert (audit.robustness_curve, audit.pgd_over_10_iterations) == (verdicts[curve], verdicts[iterations])


def test_table_2_has_ten_ticks_for_autoattack(methods: dict[str, Entry]) -> None:
    """The survey's text says nine."""
    audits = [entry.audit for entry in methods.values() if entry.audit]
    assert len(audits) == 26
    assert sum(audit.autoattack is True for audit in audits) == 10
    assert [name for name, entry in methods.items() if entry.audit and entry.audit.robustness_curve] == ["HYDRA"]
    assert sum(audit.pgd_over_10_iterations is False for audit in audits) == 3
    assert sum(audit.pgd_over_10_iterations is None for audit in audits) == 2


def test_reported_results_are_those_of_table_9(methods: dict[str, Entry]) -> None:
    reported = {
        (entry.name, one.architecture.label, one.structure.code, one.sparsity, one.robust_accuracy): (
            one.dataset, one.attack,
        )
        for entry in methods.values()
        for one in entry.reported
        if one.source is None
    }  # fmt: skip
    assert reported == {
        (name, network, structure, float(sparsity) / 100, round(float(original) / 100, 6)): (Dataset.CIFAR10, "PGD")
        for name, network, structure, sparsity, original, _, _ in rows(TABLE_9)
    }


@pytest.mark.parametrize("row", rows(TABLE_9), ids=lambda row: "-".join(row[:4]))
def test_table_9_compares_with_the_benchmark_s_own_records(benchmark_data: Catalogue, row: list[str]) -> None:
    """Its column "Ours" is the AutoAttack figure of Tables 3 and 4, always below the original claim."""
    name, network, structure, _, original, ours, percent = row
    (found,) = (
        record.robust_accuracy
        for record in benchmark_data.records.values()
        if record.provenance.source == "Piras2024Adversarial"
        and record.dataset is Dataset.CIFAR10
        and benchmark_data.entries[record.method].name == name
        and record.architecture.label == network
        and record.structure is not None
        and (record.structure.code, str(record.key.percent)) == (structure, percent)
    )
    assert found is not None
    assert f"{found * 100:.2f}" == ours
    assert found < float(original) / 100


def test_every_dash_of_the_leaderboards_has_a_reason(
    benchmark_data: Catalogue, methods: dict[str, Entry], printed_rows: list[dict[str, Any]]
) -> None:
    """Fourteen cells have no record; the entry's notes say so, with table and network."""
    printed = {
        (row["table"], row["method_name"], row["architecture"], row["sparsity_percent"])
        for row in printed_rows
        if row["table"] in TABLES
    }
    dashes = []
    for table, (dataset, structure) in TABLES.items():
        # RADMM has a line of dashes in Table 6.
        evaluated = {name for number, name, _, _ in printed if number == table} | ({"RADMM"} if table == 6 else set())
        for name, network, sparsity in itertools.product(
            sorted(evaluated), (Architecture.RESNET18, Architecture.VGG16), structure.sparsities
        ):
            percent = round(sparsity * 100)
            if (table, name, network.value, percent) in printed:
                continue
            key = f"{methods[name].key}_{network.code}_{dataset.code}_{structure.code}_{percent}"
            record = benchmark_data.records.get(key)
            assert record is None or record.provenance.source != "Piras2024Adversarial"
            dashes.append((table, name, network, percent))
    assert len(dashes) == 14
    for table, name, network, percent in dashes:
        reasons = [
            note
            for note in methods[name].notes
            if f"Table {table} " in note
            and (network.label in note or "none for any structured SVHN model" in note)
            and (f"{percent}" in note or table == 6)
            and re.search("has no value|none for any", note)
        ]
        assert len(reasons) == 1, (table, name, network, percent)
        assert re.search("trouble fitting|failed to fit|gives no reason", reasons[0]), reasons[0]


def test_published_records_say_how_the_survey_evaluated(benchmark_data: Catalogue) -> None:
    published = [
        record for record in benchmark_data.records.values() if record.provenance.source == "Piras2024Adversarial"
    ]
    assert len(published) == 192
    for record in published:
        assert record.protocol is Protocol.SURVEY
        assert record.sparsity.measured is None
        if record.dataset is Dataset.IMAGENET:
            assert record.threat_model.norm is record.threat_model.epsilon is record.results.n_samples is None
            assert [warning.code for warning in record.warnings] == ["metric-not-stated"]
        else:
            assert (record.threat_model.norm, record.threat_model.epsilon) == ("linf", "8/255")
            assert record.results.n_samples == record.dataset.test_samples


def test_pwoa_starts_from_the_networks_of_harp(benchmark_data: Catalogue, methods: dict[str, Entry]) -> None:
    """Caption of Table 7: the dense figures are the same by design."""
    for network, dataset in itertools.product(("R18", "V16"), ("CIFAR10", "SVHN")):
        harp, pwoa = (
            benchmark_data.records[f"{methods[name].key}_{network}_{dataset}_dense"].results
            for name in ("HARP", "PwoA")
        )
        assert harp == pwoa


def test_disagreements_of_the_sources_are_noted(methods: dict[str, Entry]) -> None:
    """Where the survey's repository says something else than Table 1, the table wins and the entry tells."""
    differing = [
        "Sehwag19", "RSR", "TwinRep", "DNR", "BNAP", "AWT", "RFP", "HYDRA", "HARP", "FSRP", "PwoA", "MAD",
        "Cosentino19", "BCS-P", "Li20", "InTrain", "Deadwooding",
    ]  # fmt: skip
    for name in differing:
        notes = " ".join(methods[name].notes)
        assert "The taxonomy file of the survey's repository says" in notes, name
        assert re.search("which this entry follows", notes), name


def test_the_page_of_discrepancies_counts_as_the_tables(
    repository: Path, methods: dict[str, Entry], printed_rows: list[dict[str, Any]]
) -> None:
    """The last column of docs/survey.md, line by line, counted again from the tables above and the printed results."""
    page = (repository / "docs/survey.md").read_text(encoding="utf-8")
    found = [line.strip("| ").split(" | ")[-1] for line in page.splitlines() if " | " in line][1:]
    printed = {
        (row["table"], row["method_name"], row["architecture"], row["sparsity_percent"]): row
        for row in printed_rows
        if row["table"] in TABLES
    }
    first, second = rows(TABLE_1), rows(TABLE_2)
    trained = [row[0] for row in first if row[1] == "A" and any(n in ("n.s.", "0", "5") for n in (row[2], row[3]))]
    local, global_ = ([row[0] for row in first if letter in row[6].split(",")] for letter in "LG")
    (both,), (neither,) = set(local) & set(global_), {row[0] for row in first} - {*local, *global_}
    evaluated = {name for _, name, _, _ in printed}
    kinds = [len({name for table, name, _, _ in printed if table in tables}) for tables in ((3, 5), (4, 6))]
    never = [row[0] for row in second if row[1] == "no" and row[0] in evaluated]
    attacked = [sum(row[column] == "yes" for row in second) for column in (1, 2)]
    exceptions = [
        (name, TABLES[table][0].label, one["robust"] <= other["robust"])
        for (table, name, network, percent), one in printed.items()
        if table in (3, 5)
        and (other := printed.get((table + 1, name, network, percent)))
        and (one["robust"] <= other["robust"] or one["clean"] <= other["clean"])
    ]
    assert sorted(set(exceptions)) == [("TwinRep", "CIFAR-10", True), ("TwinRep", "SVHN", False)]
    differences = {
        (row[0], row[1], row[6]): f"+{float(row[4]) - float(row[5]):.2f}" for row in rows(TABLE_9) if row[2] == "US"
    }
    assert found == [
        f"Table 1: all except {', '.join(sorted(trained, key=found[0].find)[:-1])} and SR-GKP.",
        f"Table 1: {len(local)} are marked L and {len(global_)} are marked G; {both} has both, {neither} neither.",
        f"Table 2: {attacked[0]} were tested with AutoAttack, and all {attacked[1]} with PGD.",
        f"Table 2: {', '.join(never[:-1])} and {never[-1]}.",
        f"Tables 3 to 6: {len(evaluated)} methods, {kinds[0]} unstructured and {kinds[1]} structured.",
        f"Tables 3 to 6: {len(printed)} values and {14 * 12 - len(printed)} dashes.",
        "Tables 3 to 6: all but TwinRep on CIFAR-10, and TwinRep on SVHN with VGG16 (clean accuracy).",
        found[7],
        f"FlyingBird, ResNet18, 95 %: {differences['FlyingBird', 'ResNet18', '95']} (printed +3.32). "
        f"RobustBird, VGG16, 90 %: {differences['RobustBird', 'VGG16', '90']} (printed +5.74).",
    ]
    bold = re.findall(r"(\w+) on (CIFAR-10|SVHN) with (\w+) at (\d+) % \((\d)\)", found[7])
    assert len(bold) == 7
    for name, dataset, network, percent, place in bold:
        column = {
            row[1]: result["robust"]
            for row, result in printed.items()
            if (row[0], row[2], row[3]) == (3 if dataset == "CIFAR-10" else 5, network.lower(), int(percent))
        }
        assert sorted(column, key=lambda one: -column[one]).index(name) == int(place) - 1, (name, dataset, network)


def test_every_entry_cites_its_paper(benchmark_data: Catalogue) -> None:
    for entry in benchmark_data.entries.values():
        paper = entry.paper
        assert paper.authors
        assert paper.venue
        assert paper.url, entry.key
        match = re.match(r"@[a-z]+\{([A-Za-z0-9-]+),", paper.bibtex)
        assert match, entry.key
        assert re.search(rf"year\s*=\s*\{{{paper.year}\}}", paper.bibtex), entry.key
        assert paper.bibtex.count("{") == paper.bibtex.count("}"), entry.key


def test_data_files_have_the_repository_s_one_text_form(repository: Path) -> None:
    """So that a change of a value is a change of one line."""
    for path in [*(repository / "entries").glob("*.json"), *(repository / "evaluations").glob("*/*.json")]:
        text = path.read_text(encoding="utf-8")
        assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n", path


def test_methods_beyond_the_survey_are_cited_field_by_field(benchmark_data: Catalogue) -> None:
    """`apsite validate` refuses a field without a source; here the sources are those that can be looked up."""
    added = [entry for entry in benchmark_data.methods() if not entry.in_survey]
    assert len(added) >= 8
    for entry in added:
        assert {"paper", "pipeline"} <= entry.sources.keys()
        for name, source in entry.sources.items():
            assert re.match(
                r"https://(arxiv\.org/abs|github\.com|openreview\.net)/|Piras et al\.|Reviews of", source
            ), name


def stated(document: Any, place: str = "") -> Iterator[str]:
    """Places of all values of a document that are not null or empty."""
    if isinstance(document, dict):
        for name, value in document.items():
            yield from stated(value, f"{place}.{name}" if place else name)
    elif document not in (None, [], ""):
        yield place


def test_every_field_of_a_method_beyond_the_survey_has_its_source(
    benchmark_data: Catalogue, repository: Path, tmp_path: Path
) -> None:
    """Each value of the file, but keys, flags and remarks; and without its source, `apsite validate` refuses it."""
    own = {"schema_version", "key", "aliases", "baseline", "in_survey", "notes", "changes", "sources"}
    for entry in (one for one in benchmark_data.methods() if not one.in_survey):
        document = json.loads((repository / "entries" / f"{entry.key}.json").read_text(encoding="utf-8"))
        places = [place for place in stated(document) if place.split(".")[0] not in own | {"reported"}]
        assert len(places) >= 10
        for place in places:
            assert any(f"{place}.".startswith(f"{name}.") for name in document["sources"]), (entry.key, place)
        assert all(one["source"] for one in document["reported"])
        path = tmp_path / "entries" / f"{entry.key}.json"
        for name in document["sources"]:
            section = name.partition(".")[0]
            sources = {key: text for key, text in document["sources"].items() if key.partition(".")[0] != section}
            write_document(path, {**document, "sources": sources})
            (problem,) = validate(tmp_path).problems
            assert (problem.field, section in problem.problem) == ("sources", True)
        path.unlink()


def test_numbers_of_others_are_those_that_their_sources_print(benchmark_data: Catalogue) -> None:
    found = {
        (entry.name, one.by, one.attack): (one.clean_accuracy, one.robust_accuracy)
        for entry in benchmark_data.methods()
        for one in entry.reported
        if one.source is not None and entry.name in ("DNR", "HYDRA")
    }
    assert found == {
        ("DNR", None, "not stated"): (None, 0.4735),
        ("DNR", "RobustBench", "AutoAttack"): (0.8732, 0.4041),
        ("DNR", "Y. Liu et al., CVPR 2022", "Adaptive Auto Attack"): (None, 0.4026),
        ("HYDRA", None, "PGD-50"): (0.8897, 0.6224),
        ("HYDRA", "RobustBench", "AutoAttack"): (0.8898, 0.5714),
        ("HYDRA", "Y. Liu et al., CVPR 2022", "Adaptive Auto Attack"): (0.8898, 0.5706),
    }
    assert len(benchmark_data.entries["DNR_Kundu2020Tunable"].checkpoints) == 4
    assert len(benchmark_data.entries["BCS-P_Ozdenizci2021Training"].checkpoints) == 6
    assert len(benchmark_data.entries["HYDRA_Sehwag2020Hydra"].checkpoints) == 6 + 9
    assert len(benchmark_data.entries["RBN_Liu2022Robust"].checkpoints) == 2
