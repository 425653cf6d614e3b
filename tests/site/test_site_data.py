"""What readers download, what they cite, and what they are told of changes."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ET
import zipfile

import pytest

from apsite.catalogue import load_catalogue
from apsite.columns import COLUMNS
from apsite.export import to_csv
from apsite.site.downloads import Snapshot, snapshot, write_downloads
from apsite.site.news import atom, news
from apsite.site.pages.data import citation
from tests.builders import METHOD, MODEL, RIVAL, entry_document, own_document, record_document
from tests.site.conftest import page_text, site_facts

ATOM = {"a": "http://www.w3.org/2005/Atom"}


@pytest.fixture
def changed_data(data_folder):
    """Data with a verified record, a replaced one, a retracted one and a corrected entry."""
    verified = own_document()
    verified["verification"]["date"] = "2026-01-05"
    verified["results"]["attacks"][0]["stages"][2]["dropped_rows"] = 1_234
    second = record_document(f"{METHOD}_R18_CIFAR10_US_95", robust=0.38)
    second["changes"] = [{"date": "2026-03-01", "kind": "supersedes", "reason": "A longer attack.", "version": 1}]
    withdrawn = record_document(f"{RIVAL}_R18_CIFAR10_US_95", robust=0.7)
    reason = "Leaked <b>test</b> data & more."
    withdrawn["changes"] = [{"date": "2026-02-01", "kind": "retracted", "reason": reason, "url": "https://x.org/1"}]
    changes = [{"date": "2026-04-01", "kind": "corrected", "reason": "The venue."}]
    root = data_folder(entry_document(changes=changes), entry_document(RIVAL), verified, second, withdrawn)
    old = root / "evaluations" / METHOD / "history" / f"{METHOD}_R18_CIFAR10_US_95.1.json"
    old.parent.mkdir(parents=True, exist_ok=True)
    old.write_text(json.dumps(record_document(f"{METHOD}_R18_CIFAR10_US_95", robust=0.4)), encoding="utf-8")
    return load_catalogue(root)


def test_news_tell_every_event_once_newest_first(changed_data):
    told = [(event.date, event.kind, event.method) for event in news(changed_data)]
    assert told[:4] == [
        ("2026-04-01", "corrected", METHOD),
        ("2026-03-01", "supersedes", METHOD),
        ("2026-02-01", "retracted", RIVAL),
        ("2026-01-05", "verified", METHOD),
    ]
    (verified,) = [event.text for event in news(changed_data) if event.kind == "verified"]
    assert verified == (
        "Classified all 8 samples again, and attacked again, of those claimed as robust, 3 of 3 under AutoAttack "
        "(0 broke) and 3 of 3 under HO-FMN (0 broke). It would have detected an inflation of 12.50 points with a "
        "probability of 95 %."
    )
    results = [event for event in news(changed_data) if event.kind in ("published", "submitted")]
    assert sum(len(event.models) for event in results) == 3
    assert len({event.identity for event in news(changed_data)}) == len(told)


def test_the_page_of_a_method_says_what_its_verification_would_have_detected(changed_data):
    text = page_text(site_facts(changed_data), f"methods/{METHOD}.md")
    assert "Verified on 2026-01-05 by a maintainer. Classified all 8 samples again, and attacked again" in text
    assert 'title="verified: Jane Doe; an inflation of 12.50 points would have been detected"' in text


def test_the_page_of_a_method_says_what_fab_gave_up(changed_data):
    text = page_text(site_facts(changed_data), f"methods/{METHOD}.md")
    assert text.count("FAB-T gave up 1,234 pairs of image and target class as out of reach.") == 1
    assert text.count("gave up") == 1


def test_the_data_page_explains_each_exported_column_once(changed_data):
    columns = page_text(site_facts(changed_data), "data.md").partition("{ #columns }")[2]
    lines = [line for line in columns.splitlines() if line.startswith("| `")]
    assert lines == [f"| `{column.name}` | {column.meaning} |" for column in COLUMNS]


def test_the_page_of_a_method_says_how_large_its_networks_are(benchmark_facts, data_folder):
    text = page_text(benchmark_facts, "methods/HARP_Zhao2023Holistic.md")
    assert (
        "Before pruning: ResNet18 with 11.2 M parameters and 555 M multiply-accumulates; VGG16 with 15.3 M parameters "
        "and 314 M multiply-accumulates; ResNet50 with 25.6 M parameters and 4.09 G multiply-accumulates." in text
    )
    keys = (f"{METHOD}_WRN-28-10_{dataset}_US_90" for dataset in ("CIFAR10", "CIFAR100"))
    wide = load_catalogue(data_folder(entry_document(), *map(record_document, keys)))
    text = page_text(site_facts(wide), f"methods/{METHOD}.md")
    assert "WRN-28-10 (CIFAR-10) with 36.5 M parameters and 5.24 G multiply-accumulates; WRN-28-10 (CIFAR-100)" in text


def test_news_of_the_benchmark_count_its_records(benchmark_data):
    results = [event for event in news(benchmark_data) if event.kind in ("published", "submitted")]
    versions = [key for key in benchmark_data.records for _ in benchmark_data.versions(key)]
    assert {key for event in results for key in event.models} == set(versions)
    listed = [(event.date, event.title, key) for event in results for key in event.models]
    assert len(listed) == len(set(listed)) <= len(versions), "two versions of one day are one line"
    harp = next(event for event in results if event.method == "HARP_Zhao2023Holistic")
    assert (harp.date, harp.title) == ("2024-09-02", "HARP: 31 results published")
    assert harp.text == "Piras2024Adversarial, Table 3, Table 4, Table 5, Table 6, Table 7, Table 10"


def test_feed_is_valid_atom(changed_data):
    """The elements that RFC 4287 asks for, absolute addresses where the site has one, text as text."""
    events = news(changed_data)
    feed = ET.fromstring(atom(events, "apsite", "https://example.org/site/").encode())
    assert feed.find("a:id", ATOM).text.startswith("urn:uuid:")
    assert feed.find("a:updated", ATOM).text == "2026-04-01T00:00:00Z"
    assert feed.find("a:author/a:name", ATOM).text == "apsite"
    entries = feed.findall("a:entry", ATOM)
    assert len(entries) == len(events)
    for entry in entries:
        assert all(entry.find(f"a:{name}", ATOM) is not None for name in ("id", "title", "updated", "link", "summary"))
        assert entry.find("a:link", ATOM).get("href").startswith("https://example.org/site/methods/")
    assert len({entry.find("a:id", ATOM).text for entry in entries}) == len(entries)
    retracted = next(e for e in entries if e.find("a:category", ATOM).get("term") == "retracted")
    assert "Leaked <b>test</b> data & more." in retracted.find("a:summary", ATOM).text
    relative = ET.fromstring(atom(events, "apsite", None).encode())
    assert relative.find("a:link[@rel='self']", ATOM).get("href") == "feed.xml"
    assert atom([], "apsite", None).count("<entry>") == 0


def test_feed_keeps_the_newest(benchmark_data):
    many = news(benchmark_data) * 10
    feed = ET.fromstring(atom(many, "apsite", None).encode())
    assert len(feed.findall("a:entry", ATOM)) == 50


def test_snapshot_names_the_data(changed_data, tmp_path):
    """The same files have the same name wherever they are; one changed byte has another."""
    before = snapshot(changed_data)
    assert before.name == f"apsite-2026-04-01-{before.digest[:8]}"
    copy = tmp_path / "copy"
    shutil.copytree(changed_data.root, copy)
    assert snapshot(load_catalogue(copy)) == before
    path = copy / "entries" / f"{METHOD}.json"
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert snapshot(load_catalogue(copy)).digest != before.digest


def test_archive_is_the_data_byte_by_byte(changed_data, tmp_path):
    listed = write_downloads(tmp_path / "out", changed_data)
    bibtex = json.loads((tmp_path / "out/data/bibtex.json").read_text(encoding="utf-8"))
    assert bibtex == {key: entry.paper.bibtex for key, entry in changed_data.entries.items()}
    whole = (tmp_path / "out/data/all.bib").read_text(encoding="utf-8")
    assert all(text.strip() in whole for text in bibtex.values())
    assert whole.startswith("@article{Piras2024Adversarial,\n  title = {{Adversarial Pruning")
    path = tmp_path / "out" / "data" / f"{snapshot(changed_data).name}.zip"
    assert path.name in {item.path.removeprefix("data/") for item in listed}
    with zipfile.ZipFile(path) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    files = {
        path.relative_to(changed_data.root).as_posix(): path.read_bytes()
        for path in changed_data.root.rglob("*")
        if path.is_file()
    }
    assert files.items() <= held.items()


def test_everything_is_in_one_file(changed_data, tmp_path):
    folder = tmp_path / "out"
    listed = write_downloads(folder, changed_data)
    everything = json.loads((folder / "data/catalogue.json").read_text(encoding="utf-8"))
    assert everything["snapshot"] == snapshot(changed_data).name
    assert set(everything["records"]) == set(changed_data.records) == {MODEL, f"{METHOD}_R18_CIFAR10_US_95"}
    assert set(everything["retracted"]) == {f"{RIVAL}_R18_CIFAR10_US_95"}
    assert [len(versions) for versions in everything["superseded"].values()] == [1]
    assert everything["references"]["Madry2018Towards"]["year"] == 2018
    assert (folder / "data/apsite.csv").read_text(encoding="utf-8") == to_csv(changed_data)
    assert {item.path for item in listed} >= {"data/apsite.csv", "data/apsite.json", "data/catalogue.json"}
    assert (folder / f"data/evaluations/{METHOD}/history/{METHOD}_R18_CIFAR10_US_95.1.json").is_file()
    assert (folder / f"data/evaluations/{METHOD}/{MODEL}.npz").is_file()


def test_citation_names_the_snapshot():
    text = citation(Snapshot("2026-04-01", "ab" * 32), "https://example.org/r")
    assert text.startswith("@misc{apsite,")
    assert "year = {2026}" in text
    assert "note = {Data snapshot apsite-2026-04-01-abababab}" in text
    assert r"\url{https://example.org/r}" in text
    assert text.count("{") == text.count("}")


def test_pages_of_the_data_name_the_same_snapshot(benchmark_pages, benchmark_data):
    state = snapshot(benchmark_data)
    assert benchmark_pages["data.md"].text.count(state.name) == 2
    assert len(benchmark_pages["updates.md"].tables["updates"]) == len(news(benchmark_data)) + 1
