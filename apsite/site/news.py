"""What happened in the data, by date: computed from the dates that entries and records carry, for a page and a feed."""

from __future__ import annotations

import re
import uuid
import xml.etree.ElementTree as ET  # only writes here
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from apsite import numbers
from apsite.catalogue import Catalogue
from apsite.documents.changes import Change
from apsite.records import EvaluationRecord, Verification
from apsite.vocabulary import ProvenanceKind

_ATOM = "http://www.w3.org/2005/Atom"
_SHOWN = 50


@dataclass(frozen=True)
class News:
    """One event."""

    date: str  # ISO day
    kind: str  # what happened, in a word
    method: str  # key of the method that it is about
    title: str  # one line
    text: str  # what else is to be said; empty where that is all
    models: tuple[str, ...] = ()  # model keys that it is about, in catalogue order; empty for events of an entry
    url: str | None = None  # where it was discussed, or `None`

    @property
    def identity(self) -> str:
        """Name that stays the same as long as the event does."""
        seed = "/".join((self.date, self.kind, self.method, *self.models[:1], self.text))
        return uuid.uuid5(uuid.NAMESPACE_URL, f"apsite:{seed}").urn

    @property
    def place(self) -> str:
        """Page of the event, with the row of its model where it is about one."""
        mark = f"#{self.models[0]}" if len(self.models) == 1 else ""
        return f"methods/{self.method}{mark}"


def news(catalogue: Catalogue) -> list[News]:
    """Every event, newest first: results by method, day and source, verifications, and changes of files."""
    events = [*_results(catalogue), *_verifications(catalogue), *_changes(catalogue)]
    # Reversed after sorting, so that of two events of one day the later one is first too.
    return sorted(events, key=lambda event: (event.date, event.method.lower(), event.models))[::-1]


def newest(catalogue: Catalogue) -> str | None:
    """Day of the last event; ``None`` where there is none."""
    return max((event.date for event in news(catalogue)), default=None)


def _results(catalogue: Catalogue) -> list[News]:
    groups: dict[tuple[str, str, str, str], list[EvaluationRecord]] = {}
    for _, record in catalogue.every_record():
        told = record.provenance
        verb = "published" if told.kind is ProvenanceKind.PUBLISHED else "submitted"
        groups.setdefault((told.date, verb, record.method, told.source), []).append(record)
    found = []
    for (date, verb, method, source), records in groups.items():
        places = sorted({r.provenance.location for r in records if r.provenance.location}, key=_natural)
        results = "1 result" if len(records) == 1 else f"{numbers.count(len(records))} results"
        title = f"{catalogue.entries[method].name}: {results} {verb}"
        text = f"{source}, {', '.join(places)}" if places else source
        keys = tuple(dict.fromkeys(record.model_key for record in records))
        found.append(News(date, verb, method, title, text, keys))
    return found


def _natural(text: str) -> list[tuple[int, str]]:
    """Order in which ``Table 10`` comes after ``Table 9``."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", text)]


def verification_text(verification: Verification) -> str:
    """What a verification repeated, what it found, and what it would have detected."""
    again = [
        f"{numbers.count(one.drawn)} of {numbers.count(one.claimed)} under {one.attack.label} ({one.broken} broke)"
        for one in verification.attacks
    ]
    return (
        f"Classified all {numbers.count(verification.samples)} samples again, and attacked again, of those claimed as "
        f"robust, {numbers.words(again)}. It would have detected an inflation of "
        f"{numbers.percent(verification.detectable_inflation)} points with a probability of 95 %."
    )


def _verifications(catalogue: Catalogue) -> Iterator[News]:
    for _, record in catalogue.every_record():
        if found := record.verification:
            title = f"{catalogue.entries[record.method].name}: result verified"
            text = verification_text(found)
            yield News(found.date, "verified", record.method, title, text, (record.model_key,))


def _changes(catalogue: Catalogue) -> Iterator[News]:
    changed: list[tuple[str, str, tuple[Change, ...], tuple[str, ...]]] = [
        *((key, "entry", entry.changes, ()) for key, entry in catalogue.entries.items()),
        *((r.method, "result", r.changes, (r.model_key,)) for _, r in catalogue.every_record()),
    ]
    for method, what, changes, models in changed:
        for change in changes:
            title = f"{catalogue.entries[method].name}: {what} {change.kind.label.lower()}"
            yield News(change.date, change.kind.value, method, title, change.text, models, change.url)


def atom(events: Sequence[News], title: str, site_url: str | None) -> str:
    """Atom feed (RFC 4287) of the newest events.

    Args:
        events: Newest first.
        title: Title of the feed.
        site_url: Public URL of the site; without one, links are relative to the feed.
    """
    base = (site_url or "").rstrip("/") + "/" if site_url else ""
    ET.register_namespace("", _ATOM)
    feed = ET.Element(f"{{{_ATOM}}}feed")
    _add(feed, "id", uuid.uuid5(uuid.NAMESPACE_URL, base or "apsite").urn)
    _add(feed, "title", title)
    _add(feed, "updated", _moment(events[0].date if events else "1970-01-01"))
    author = ET.SubElement(feed, f"{{{_ATOM}}}author")
    _add(author, "name", title)
    _add(feed, "link", rel="self", type="application/atom+xml", href=f"{base}feed.xml")
    _add(feed, "link", rel="alternate", type="text/html", href=f"{base}updates.html")
    for event in events[:_SHOWN]:
        entry = ET.SubElement(feed, f"{{{_ATOM}}}entry")
        page, mark, fragment = event.place.partition("#")
        _add(entry, "id", event.identity)
        _add(entry, "title", event.title)
        _add(entry, "updated", _moment(event.date))
        _add(entry, "link", rel="alternate", type="text/html", href=f"{base}{page}.html{mark}{fragment}")
        _add(entry, "category", term=event.kind)
        _add(entry, "summary", "\n".join(filter(None, [event.text, *event.models])))
    ET.indent(feed)
    return ET.tostring(feed, encoding="unicode", xml_declaration=True) + "\n"


def _add(parent: ET.Element, name: str, text: str | None = None, **attributes: str) -> None:
    element = ET.SubElement(parent, f"{{{_ATOM}}}{name}", attributes)
    element.text = None if text is None else _plain(text)


def _plain(text: str) -> str:
    """Text without the control characters that XML cannot hold."""
    return "".join(letter for letter in text if letter in "\n\t" or ord(letter) >= 32)


def _moment(date: str) -> str:
    return f"{date}T00:00:00Z"
