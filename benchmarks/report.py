"""Results files, one per kind of machine, and the page of all of them."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.precision import Evidence
from benchmarks.timing import CommandTime, Row

Document = dict[str, Any]
Columns = dict[str, Callable[[Document], str]]

PAGE_HEAD = """# Benchmarks

How many times faster apsite is than other software on the same machine.
Both run in turn, on the same network and the same images.
The ratio is that of the median times; the single ratios show its spread.
`benchmarks/results` has the seconds of each repetition.
`make bench` repeats the measurements, each part in its own process.

`pyautoattack` runs as in its documentation, on a network whose parameters are not frozen.
The plain FMN loop is `benchmarks/plain_fmn.py`.
On a CPU, times are CPU seconds of one thread.
Each side has a process of its own there, since apsite changes how its process manages memory.
Networks with random weights only time the passes: a tiny ε keeps every sample robust.
On them, the attacks make fewer steps (5 of APGD, 3 of FAB) and queries (30 of Square).
"""

NO_GPU = """
## GPUs

There are no measurements on a GPU yet.
On a machine with a GPU, this evaluates a ResNet18 under the full protocol and adds the results to this page:

```console
$ make bench ROWS=gpu BENCH="--checkpoint FILE --data-dir FOLDER"
```
"""


def write_results(path: Path, rows: Sequence[Row | CommandTime | Evidence], device: str, threads: int) -> None:
    """Write or complete the results of one kind of machine; rows of the same name are replaced."""
    old: list[Document] = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    date = datetime.now(UTC).date().isoformat()
    before = {row["name"]: _before(row, date) for row in old if row["kind"] == "autoattack"}
    new = [{"name": row.name, **row.as_json(), "date": date} | before.get(row.name, {}) for row in rows]
    names = {row["name"] for row in new}
    document = {
        "device": device,
        "threads": threads,
        "platform": f"{platform.system()} {platform.machine()}",
        "torch": torch.__version__,
        "rows": [row for row in old if row["name"] not in names] + new,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _before(old: Document, date: str) -> Document:
    """The ratio of a row that is replaced, unless it is of the same day: then what it replaced."""
    if old["date"] == date:
        return {name: old[name] for name in ("before",) if name in old}
    return {"before": {"ratio": old["ratio"], "date": old["date"]}}


def write_page(path: Path, results: Sequence[Path]) -> None:
    """Write the page of all results files."""
    lines = [PAGE_HEAD]
    for source in results:
        document = json.loads(source.read_text(encoding="utf-8"))
        lines.append(f"\n## {document['device']}\n")
        lines.append(f"{document['threads']} threads, torch {document['torch']}, {document['platform']}.")
        for title, text, kind, columns in _SECTIONS:
            rows = [row for row in document["rows"] if row["kind"] == kind]
            if kind == "results":
                rows = [row for row in document["rows"] if "robust_ours" in row.get("facts", {})]
            if rows:
                lines += [f"\n### {title}\n", f"{text}\n", *_table(rows, columns)]
    if not any("NVIDIA" in source.read_text(encoding="utf-8") for source in results):
        lines.append(NO_GPU)
    path.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def _table(rows: Sequence[Document], columns: Columns) -> list[str]:
    """A Markdown table; columns whose titles end in a space hold numbers."""
    marks = ["---:" if title.endswith(" ") else "---" for title in columns]
    cells = [[write(row) for write in columns.values()] for row in rows]
    return ["| " + " | ".join(line) + " |" for line in ([title.strip() for title in columns], marks, *cells)]


def _spread(row: Document) -> str:
    """Smallest and largest single ratio."""
    low, high = min(row["ratios"]), max(row["ratios"])
    return f"{low:.2f} to {high:.2f}" if len(row["ratios"]) > 1 else "one run"


def _earlier(row: Document) -> str:
    """The ratio that this one replaced, and its day."""
    return f"{row['before']['ratio']:.2f} ({row['before']['date']})" if "before" in row else "–"


def _seconds(values: Sequence[float]) -> str:
    """Median of some times."""
    middle = sorted(values)[(len(values) - 1) // 2 : len(values) // 2 + 1]
    return f"{sum(middle) / len(middle):,.1f}"


def _fact(name: str, write: Callable[[Any], str] = "{:,}".format) -> Callable[[Document], str]:
    """A fact of a row; a dash where it has none."""
    return lambda row: write(row["facts"][name]) if name in row["facts"] else "–"


def _yes(value: Any) -> str:
    return "yes" if value else "no"


def _by_name(values: Any) -> str:
    return ", ".join(f"{name} {value:,}" for name, value in values.items())


def _parity(row: Document) -> str:
    """Whether flags were equal after every stage, and after which they were not."""
    equal = row["facts"].get("flags_equal_in_exact_mode")
    if equal is None:
        return "not compared"
    unequal = [attack for attack, same in equal.items() if not same]
    return f"not after {', '.join(unequal)}" if unequal else "yes"


_NETWORK: Columns = {"Network": lambda row: row["network"]}
_RATIO: Columns = {"Ratio ": lambda row: f"{row['ratio']:.2f}", "Single ratios ": _spread}
_TIMED: Columns = {"Ratio ": lambda row: f"{row['ratio']:.2f}" if row["ratios"] else "–"}
_TIMES: Columns = {
    "apsite (s) ": lambda row: _seconds(row["ours_s"]),
    "other (s) ": lambda row: _seconds(row["theirs_s"]),
}
_PASSES: Columns = {"Forward passes ": _fact("forward_passes"), "Passes with gradient ": _fact("gradient_passes")}
_DATE: Columns = {"Date": lambda row: row["date"]}
_WORK: Columns = {"Work": lambda row: row["work"]}

_SECTIONS: Sequence[tuple[str, str, str, Columns]] = (
    (
        "The full protocol",
        "Clean accuracy, AutoAttack, the search of HO-FMN and its attack, compared with `pyautoattack` and the plain "
        "FMN loop.",
        "protocol",
        {
            **_NETWORK, **_WORK, **_RATIO, **_TIMES,
            "Seconds by phase": _fact("seconds_by_phase", _by_name),
            **_DATE,
        },
    ),
    (
        "AutoAttack",
        "Compared with `pyautoattack`; each attack runs on the samples that the previous ones did not break. "
        "*Before* is the ratio that was measured last on another day; times of 2026-11-26 are wall time, with both "
        "sides in one process.",
        "autoattack",
        {
            **_NETWORK, "Attack": lambda row: row["work"], **_RATIO, "Before ": _earlier, **_TIMES, **_PASSES, **_DATE,
        },
    ),
    (
        "Results of AutoAttack",
        "Robust samples at the end, with each side's own random numbers; and whether, with the random numbers of "
        "`pyautoattack` in its order, the same samples are robust after every attack.",
        "results",
        {
            **_NETWORK,
            "Correct ": _fact("correct"),
            "Robust, apsite ": _fact("robust_ours"),
            "Robust, other ": _fact("robust_theirs"),
            "Same flags": _parity,
            "Channels ": _fact("channels"),
            "Removed ": _fact("removed_channels"),
        },
    ),
    (
        "HO-FMN",
        "The final attack compared with the plain FMN loop, and the median distance that each reaches.",
        "hofmn",
        {
            **_NETWORK, **_RATIO, **_TIMES,
            "Images ": _fact("images"), "Steps ": _fact("steps"),
            "Median, apsite ": _fact("median_ours", "{:.5f}".format),
            "Median, other ": _fact("median_theirs", "{:.5f}".format),
            **_DATE,
        },
    ),
    (
        "Pass efficiency",
        "CPU time of the passes through the network alone, divided by that of an attack with as many passes: "
        "1 means that the attack adds no cost.",
        "efficiency",
        {**_NETWORK, "Attack": lambda row: row["work"], **_RATIO, **_PASSES, **_DATE},
    ),
    (
        "Passes of the attacked network",
        "CPU time of a pass of 64 images, on one thread, through the network as it is evaluated, with its batch norms "
        "folded, and as attacks run on it.",
        "passes",
        {
            **_NETWORK, "Pass": lambda row: row["work"], **_RATIO,
            "Evaluated (ms) ": _fact("evaluated_ms"), "Folded (ms) ": _fact("folded_ms"),
            "Attacked (ms) ": _fact("attacked_ms"), "Memory format": _fact("memory_format", str), **_DATE,
        },
    ),
    (
        "Targets that FAB gives up",
        "FAB with its rule for hopeless targets compared with FAB without it, on the images that APGD-CE and APGD-T "
        "leave robust at ε = 8/255; a row is an image with one of its nine targets. "
        "*Way* is the largest share of its way, from the distance at which the rule gives a row up down to ε, that "
        "such a row went when it had all 100 steps: at 1 it would reach ε. "
        "The rule was chosen so that twice the largest share stays below 1, which neither 1.5 ε nor 2 ε after 20 steps "
        "would do, nor 1.5 ε after 30 steps for rows that still come nearer. "
        "Where gradients vanish, as with saturated outputs, it gives up nothing. "
        "In the runs with every step recorded, counted for ε = 12/255, FAB breaks 232 of 586 images, and the rule "
        "changes none of these results either. "
        "The networks of the ResNet8 are our baselines; the VGG is a small one of six convolutions, trained for this "
        "measurement. "
        "*Ratio* is that of the CPU times; rows without it come from a run in which every step was recorded. "
        "*Of* is the number of test images from which the attacked ones come.",
        "dropped-rows",
        {
            **_NETWORK, **_TIMED, "Ratio of passes ": _fact("passes_ratio", "{:.2f}".format),
            "Of ": _fact("of"), "Images ": _fact("samples"), "Rows ": _fact("rows"),
            "Given up ": _fact("dropped_rows"), "Broken ": _fact("broken"), "Results changed ": _fact("changed"),
            "Way ": _fact("way", "{:.2f}".format),
            **_DATE,
        },
    ),
    (
        "What lower precision changes",
        "The same attacks on the same images with the search in float32, in float32 with another seed, in TF32 and in "
        "bfloat16; every success is confirmed in float32. "
        "TF32 is emulated on the CPU: factors of convolutions and products are rounded to 10 bits of mantissa, and "
        "products summed in float32. "
        "*Robust only so* and *not robust so* compare the images that are robust at the end with those of the first "
        "search. "
        "HO-FMN computes logits in float32; with TF32 its gradients are in TF32. "
        "Its columns compare distances with those of the first search: successes that float32 did not confirm, "
        "images whose result at 8/255 changed, and the relative difference of the medians. "
        "Rows that compare with a committed record attack the images of that evaluation again, with its seed.",
        "precision",
        {
            **_NETWORK, "Search": lambda row: row["search"], "Correct ": _fact("correct"),
            "Robust after": _fact("robust_after", _by_name),
            "Robust only so ": _fact("only_here"), "Not robust so ": _fact("only_float32"),
            "HO-FMN: unconfirmed ": _fact("unconfirmed"), "changed ": _fact("robust_changed"),
            "median ": _fact("median_difference", "{:.1e}".format), **_DATE,
        },
    ),
    (
        "Distances above the best known ones",
        "How far the distance of each image lies above the best known one, which is the smallest that any of so many "
        "attacks found: FMN with six configurations of the search and of the protocol, two of them with five times the "
        "steps as well, FAB-T with two starts, and FMN of adversarial-library and foolbox with their defaults. "
        "HO-FMN searches with 32 trials and then attacks with two configurations; all but the long attacks make 200 "
        "steps. Of all attacks the network confirms each image.",
        "distances",
        {
            **_NETWORK, "Attack": lambda row: row["attack"], "Images ": _fact("images"), "Attacks ": _fact("attacks"),
            "Median above ": _fact("median", "{:.2%}".format), "90th percentile ": _fact("high", "{:.2%}".format),
            "Within 0.1 % ": _fact("closest"), **_DATE,
        },
    ),
    (
        "How much too high the curve of HO-FMN is",
        "AutoAttack attacks the images that HO-FMN counts as robust at each ε, in float32 on the CPU. What it breaks "
        "is the gap by which the robustness curve is too high there. An image that HO-FMN breaks within ε is broken in "
        "truth, so the curve is never too low. The images are the first of the fixed random order, and their distances "
        "those of the committed records; at the ε of the records so are the results of AutoAttack, and "
        "what it left robust there is not attacked at smaller ones.",
        "curve",
        {
            **_NETWORK, "ε ": lambda row: f"{row['size']}/255", "Images ": _fact("images"),
            "Robust, HO-FMN ": _fact("hofmn"), "Broken by AutoAttack ": _fact("broken"),
            "Gap (points) ": _fact("gap", lambda gap: f"{100 * gap:.1f}"), **_DATE,
        },
    ),
    (
        "Ray workers",
        "Two workers compared with one, on two cores.",
        "workers",
        {**_NETWORK, **_RATIO, **_TIMES, "Same results": _fact("results_equal", _yes), **_DATE},
    ),
    (
        "Commands",
        "Commands on synthetic catalogues, each record with its per-sample file of 10,000 samples. "
        "Before the pairs of a setting were judged together, building 5,000 records took 519 s of CPU time, "
        "at that time on a busier machine. The build of 20,000 records ran on a busy machine, too.",
        "catalogue",
        {
            "Command": lambda row: f"`apsite {row['command']}`",
            "Records ": lambda row: f"{row['records']:,}",
            "Wall (s) ": lambda row: f"{row['seconds']:.1f}",
            "CPU (s) ": lambda row: f"{row['cpu_seconds']:.1f}",
            "Peak memory (MB) ": lambda row: f"{row['peak_megabytes']:,.0f}",
            **_DATE,
        },
    ),
    (
        "Pages",
        "What the heaviest pages of these catalogues' sites weigh, in kB gzipped, with all that they load: styles, "
        "fonts and scripts, and where charts are live, the drawing script and the largest data of one setting. The "
        "search, which loads later and once for all pages, is not part of them.",
        "pages",
        {
            "Records ": lambda row: f"{row['records']:,}",
            "Pages ": lambda row: f"{row['pages']:,}",
            "Heaviest page without live charts": lambda row: f"`{row['plain_page']}`",
            "kB ": lambda row: f"{row['plain'] / 1000:.0f}",
            "Heaviest page with live charts": lambda row: f"`{row['chart_page']}`",
            "kB  ": lambda row: f"{row['chart'] / 1000:.0f}",
            **_DATE,
        },
    ),
)  # fmt: skip
