"""The survey's distance files: where they are, and their import as records that draw curves."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from apsite.errors import DocumentError
from apsite.evaluation.runs.distance_files import MAX_BYTES, import_distances
from apsite.evaluation.testsets.collecting import Collected, collect
from apsite.evaluation.testsets.downloads import cache_dir, fetch
from apsite.keys import ModelKey
from apsite.progress import Reporter
from apsite.records import CURVES, read_record
from apsite.validation.sample_files import samples_problems


@dataclass(frozen=True)
class SurveyFile:
    """A distance file of the survey: the model that it is about, its URL, and where the survey lists it."""

    key: ModelKey
    url: str
    listed: str

    @property
    def name(self) -> str:
        """The model key."""
        return str(self.key)

    @property
    def origin(self) -> str:
        """Where it comes from, in words of a record."""
        return f"the distance file {self.url}, {self.listed}"


def survey_files() -> list[SurveyFile]:
    """The distance files that the survey's repository lists, sorted by model key."""
    text = resources.files("apsite.evaluation.runs").joinpath("survey_distances.json").read_text(encoding="utf-8")
    document = json.loads(text)
    place = f"{document['file']} of {document['repository']} at {document['commit'][:7]}"
    return [
        SurveyFile(
            ModelKey.parse(one["model_key"]),
            one["url"],
            f"listed as {one['listed_as']} in {place}" if "listed_as" in one else f"listed in {place}",
        )
        for one in document["files"]
    ]


def import_survey(output: Path, reporter: Reporter) -> Collected:
    """Fetch the distance files, check them, and write their records below `output` (usually ``evaluations``).

    A record that is there, is right and comes from the listed file is not fetched again.
    """

    def path(file: SurveyFile) -> Path:
        return output / file.key.method / CURVES / f"{file.key}.json"

    def work(file: SurveyFile) -> None:
        fetched = fetch(file.url, cache_dir() / "distances" / f"{file.key}.pickle", reporter, limit=MAX_BYTES)
        try:
            import_distances(fetched, file.key, output, overwrite=True, origin=file.origin)
        finally:
            fetched.unlink()  # a wrong one must not be taken the next time, and the record has its hash

    return collect(survey_files(), lambda file: _is_right(path(file), file), work, reporter)


def _is_right(path: Path, file: SurveyFile) -> bool:
    """Whether the record of a file is there and says what its per-sample file holds."""
    try:
        record = read_record(path) if path.exists() else None
    except DocumentError:
        return False
    return record is not None and file.url in " ".join(record.notes) and not samples_problems(path, record)[0]
