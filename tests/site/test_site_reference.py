"""Pages that are made from the code: they hold every field, array and public name, and nothing that is gone."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys

import pytest

from apsite import samples
from apsite.documents.schema import load_schema
from apsite.records.versions import upgraded
from apsite.site.tables import docstrings, schema_fields
from apsite.vocabulary import Criterion, Protocol


def places(value, prefix=""):
    """Places of all fields of a document, items of lists written ``[]``."""
    for name, part in value.items():
        yield f"{prefix}{name}"
        if isinstance(part, dict):
            yield from places(part, f"{prefix}{name}.")
        for item in part if isinstance(part, list) else ():
            if isinstance(item, dict):
                yield from places(item, f"{prefix}{name}[].")


@pytest.mark.parametrize(("kind", "folder"), [("entry", "entries"), ("record", "evaluations")])
def test_every_field_in_use_is_explained(repository, kind, folder):
    listed = {field.path: field for field in schema_fields.fields(kind)}
    free = tuple(path.removesuffix("<name>") for path in listed if path.endswith("<name>"))
    for path in sorted((repository / folder).rglob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        for place in places(upgraded(document) if kind == "record" else document):
            assert place in listed or place.startswith(free), f"{path}: {place}"
    assert all(field.meaning for field in listed.values()), [f.path for f in listed.values() if not f.meaning]
    assert all(field.kind for field in listed.values())


def test_fields_say_what_the_schema_says():
    entry = {field.path: field for field in schema_fields.fields("entry")}
    record = {field.path: field for field in schema_fields.fields("record")}
    assert entry["specifics.criterion"].allowed == f"{', '.join(Criterion)}; {Criterion.other_meaning()}"
    assert record["protocol"].allowed == ", ".join(Protocol)
    assert entry["paper.url"].kind == "text or null"
    assert entry["paper.year"].allowed == "1980 to 2100"
    assert entry["pipeline.stage"].allowed == "after or before or during"
    assert entry["pipeline.finetuning"].required == "if stage is after"
    assert entry["pipeline.training"].required == "if stage is before or during"
    assert entry["checkpoints"].required == "no"
    assert record["results.clean_accuracy"].kind == "number or null"
    assert record["results.attacks[].stages[].broken"].required == "yes"
    for name, part in load_schema("record")["properties"].items():
        assert record[name].required == ("yes" if name in load_schema("record")["required"] else "no"), part


def test_arrays_are_those_that_are_written():
    listed = {array.name: array.kind for array in schema_fields.SAMPLE_ARRAYS}
    flags = listed.pop("robust_after_<attack>")
    listed |= dict.fromkeys(samples._FLAGS, flags)
    assert listed == {name: kind.name for name, kind in samples._DTYPES.items()}
    assert all(name.startswith("robust_after_") for name in samples._FLAGS)


def test_public_names_are_documented():
    found = {module.path: {item.name: item for item in module.items} for module in docstrings.modules()}
    import apsite

    assert set(found["apsite"]) == set(apsite.__all__)
    for path, items in found.items():
        assert all(item.paragraphs for item in items.values())
        if path == "apsite":
            continue
        module = importlib.import_module(path)
        public = {
            name
            for name, value in vars(module).items()
            if not name.startswith("_")
            and (inspect.isclass(value) or inspect.isfunction(value))
            and (value.__module__ == path or value.__module__.startswith(f"{path}."))
        }
        assert set(items) == public, path


def test_signatures_are_those_of_python():
    found = {item.path: item for module in docstrings.modules() for item in module.items}
    assert found["apsite.metrics.robust_accuracy"].signature.startswith("robust_accuracy(")
    (example,) = found["apsite.metrics.holm"].examples
    assert example.splitlines() == [">>> holm([0.01, 0.04, 0.03])", "[0.03, 0.06, 0.06]"]
    assert not any(">>>" in text for item in found.values() for text in item.paragraphs)
    loader = found["apsite.load_catalogue"]
    assert loader.signature == "load_catalogue(root: Path | str = '.') -> Catalogue"
    assert [item.name for item in loader.raises] == ["ApsiteError"]
    methods = {member.name: member for member in found["apsite.catalogue.Catalogue"].members}
    assert methods["Catalogue.to_frame"].signature == "Catalogue.to_frame() -> pd.DataFrame"
    assert "*," in found["apsite.load_network"].signature


def test_docstrings_become_html_safely():
    text = docstrings.inline("see :func:`evaluate` and ``x < 1``, `y`, <script>alert(1)</script>")
    assert text == (
        "see <code>evaluate</code> and <code>x &lt; 1</code>, <code>y</code>, &lt;script&gt;alert(1)&lt;/script&gt;"
    )


def test_the_interface_is_read_without_running_it():
    code = (
        "import sys; from apsite.site.tables import docstrings; assert docstrings.modules(); "
        "assert not {'torch', 'apsite.evaluation', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
