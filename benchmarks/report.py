"""Results file and page."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.timing import Row

PAGE_HEAD = """# Benchmarks

How long apsite takes, as a multiple of what others take on the same machine.
Both sides run in turn in one process, on the same network and the same images.
The ratio is that of the medians; the single ratios show its spread.
Absolute seconds are in `benchmarks/results`.

`pyautoattack` runs as its documentation says, on a network whose parameters are not frozen.
The plain FMN loop is `benchmarks/plain_fmn.py`.
Networks with random weights serve to time passes only: a tiny budget keeps every sample robust.
They make fewer steps (5 of APGD, 3 of FAB) and queries (30 of Square).
Pass efficiency is the time of bare passes through the network, divided by the time of the attack that makes as many.
"""

NO_GPU = """
## GPUs

No GPU has been measured yet.
On a machine that has one, this evaluates a ResNet18 under the whole protocol and adds the figures to this page:

```console
$ make bench ROWS=gpu BENCH="--checkpoint FILE --data-dir FOLDER"
```
"""


def write_results(path: Path, rows: Sequence[Row], device: str, threads: int) -> None:
    """Write or complete the results of one kind of machine; rows of the same name are replaced."""
    old: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    date = datetime.now(UTC).date().isoformat()
    new = [{**row.as_json(), "date": date} for row in rows]
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


def write_page(path: Path, results: Sequence[Path]) -> None:
    """Write the page of all results files."""
    lines = [PAGE_HEAD]
    for source in results:
        document = json.loads(source.read_text(encoding="utf-8"))
        lines += [
            f"\n## {document['device']}\n",
            f"{document['threads']} threads, torch {document['torch']}, {document['platform']}.\n",
            "| What | Other side | Ratio | Single ratios | Details | Date |",
            "| --- | --- | ---: | ---: | --- | --- |",
        ]
        for row in document["rows"]:
            low, high = min(row["ratios"]), max(row["ratios"])
            spread = f"{low:.2f} to {high:.2f}" if len(row["ratios"]) > 1 else "one"
            details = "; ".join(f"{name.replace('_', ' ')} {_text(value)}" for name, value in row["facts"].items())
            lines.append(
                f"| {row['name']} | {row['other']} | {row['ratio']:.2f} | {spread} | {details} | {row['date']} |"
            )
    if not any("NVIDIA" in source.read_text(encoding="utf-8") for source in results):
        lines.append(NO_GPU)
    path.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def _text(value: Any) -> str:
    """A fact as people read it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(one)}" for name, one in value.items())
    return f"{value:,}" if isinstance(value, int) else f"{value:.5f}" if isinstance(value, float) else str(value)
