"""What a page of the site is, and the facts that all pages of one build are made from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jinja2

from apsite import numbers
from apsite.catalogue import Catalogue
from apsite.comparable import Judge, Lead, Setting, assumed_samples, by_setting, doubtful, robust_bounds
from apsite.documents.references import Reference
from apsite.records import EvaluationRecord
from apsite.site.charts import panels, sparsity, tradeoffs
from apsite.site.charts.curves import Curve
from apsite.site.charts.drawings import Drawings, NoDrawings
from apsite.site.charts.palette import SHAPE_PATHS, TOKENS
from apsite.site.downloads import Download, Snapshot, snapshot
from apsite.site.tables import heatmap, leaderboards, methods, settings
from apsite.site.writer import WrittenPage, environment, written_page

WIDE = ("navigation", "toc")
"""What a page leaves out to have the whole width for its tables."""


@dataclass(frozen=True)
class SiteFacts:
    """Everything that pages are made from.

    `drawn` draws a chart, given its identity on the page and its specification.
    """

    catalogue: Catalogue
    judge: Judge  # who is ahead, by setting and between any two models
    references: dict[str, Reference]  # cited papers by key
    curves: list[Curve]
    downloads: list[Download]
    documents: frozenset[str]  # names of the hand-written pages, without extension, such as `protocol`
    bundle: str  # file name of the Vega script
    repository: str | None  # URL of the repository, for links to edit an entry; `None` where there is none
    drawn: Drawings = field(default_factory=NoDrawings)

    @cached_property
    def labels(self) -> dict[str, str]:
        """Names of methods in charts, by key."""
        return methods.labels(self.catalogue.entries.values())

    @cached_property
    def leads(self) -> dict[Setting, Lead]:
        """Leaders by setting."""
        return {setting: found.lead for setting, found in self.judge.settings.items() if found.lead is not None}

    @cached_property
    def rankings(self) -> dict[Setting, list[EvaluationRecord]]:
        """Models that rank and baselines, by setting, most robust first."""
        return by_setting(self.catalogue, baselines=True)

    @cached_property
    def fields(self) -> panels.Fields:
        """All models that rank by dataset, network and structure, for the panels of methods."""
        return panels.Fields(self.rankings)

    @cached_property
    def boards(self) -> list[leaderboards.Leaderboard]:
        """Leaderboards that have a row."""
        return [board for board in leaderboards.leaderboards(self.catalogue) if board.rows]

    @cached_property
    def heats(self) -> dict[str, heatmap.Heat]:
        """Models that rank among those of their setting, by model key."""
        found = (heatmap.heats(standings).values() for standings in self.judge.settings.values())
        return {heat.record.model_key: heat for heats in found for heat in heats}

    @cached_property
    def results(self) -> list[settings.Group]:
        """Every record once, by setting, most robust first."""
        areas = {curve.record.model_key: curve.area for curve in self.curves if not curve.imported}
        return settings.groups(self.judge, areas)

    @cached_property
    def snapshot(self) -> Snapshot:
        """State of the data."""
        return snapshot(self.catalogue)

    @cached_property
    def trends(self) -> list[sparsity.Trend]:
        """Methods over sparsity, by dataset, network and structure."""
        return sparsity.trends(list(self.catalogue.records.values()), self.labels)

    def templates(self) -> jinja2.Environment:
        """Templates, with the names that all of them may use."""
        return environment(
            self.drawn, catalogue=self.catalogue, entries=self.catalogue.entries, references=self.references,
            labels=self.labels, documents=self.documents, repository=self.repository, bundle=self.bundle,
            bounds=robust_bounds, assumed=assumed_samples, doubtful=doubtful, draw_trend=sparsity.drawing,
            quantiles=numbers.words([f"{part:.0%}".rstrip("%") for part in panels.QUANTILES]),
            looks_of=sparsity.distinct, shapes=SHAPE_PATHS, trend_sizes=tuple(sparsity.SIZES), looks_block=_looks(),
            cost_names=tradeoffs.COSTS, cost_sizes=tuple(tradeoffs.SIZES), draw_cost=tradeoffs.cost_drawing,
            snapshot_name=self.snapshot.name, traits=methods.traits, facets=methods.facets(),
        )  # fmt: skip


def _looks() -> dict[str, Any]:
    """Looks of highlighted lines as the scripts of plots read them."""
    return {
        "looks": [
            {
                "colour": TOKENS[look.colour],
                "dash": "none" if look.dash == (1, 0) else " ".join(map(str, look.dash)),
                "mark": look.shape,
            }
            for look in sparsity.LOOKS
        ],
        "shapes": SHAPE_PATHS,
    }


@dataclass(frozen=True)
class Page:
    """A page, or a family of pages that share one template, such as one page per method.

    `context` makes the names that the template needs, from the facts and, in a family, the name of the member.
    `members` are names and titles of a family's pages, in the order of the navigation; ``None`` for a single page.
    """

    path: str  # below the pages folder, ending in `.md`; that of a family has `{name}` in it
    title: str  # for window and navigation, plain characters only; that of a family comes from its members
    description: str  # one plain sentence for search engines; that of a family has `{title}` in it
    context: Callable[..., Mapping[str, Any]]
    template: str = ""  # file in the templates folder; without one it is named for the path
    members: Callable[[SiteFacts], Mapping[str, str]] | None = None
    hide: tuple[str, ...] = WIDE  # parts of the frame that the page leaves out: `navigation`, `toc`
    boost: int = 1  # how much more than other pages the search favours it
    own: tuple[str, ...] = ()  # names of the files in `assets` that only this page loads, such as `form.js`
    listed: bool = True  # whether the navigation has the page

    def names(self, facts: SiteFacts) -> Mapping[str, str]:
        """Titles of the family's pages by name; a single page has the empty name."""
        return {"": self.title} if self.members is None else self.members(facts)

    def render(self, facts: SiteFacts, templates: jinja2.Environment) -> Iterator[WrittenPage]:
        """The page, or those of the family, as Markdown."""
        for name, title in self.names(facts).items():
            yield written_page(
                templates,
                self.template or f"{self.path}.j2",
                self.path.format(name=name),
                title,
                self.description.format(title=title),
                hide=self.hide,
                boost=self.boost,
                own=self.own,
                **(self.context(facts) if self.members is None else self.context(facts, name)),
            )
