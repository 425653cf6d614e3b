"""The static site: pages, data and charts written from the catalogue, then built by the site generator.

Nothing here needs torch; the site and the evaluation meet in files only.
"""

from __future__ import annotations

from apsite.site.making.build import build_site

__all__ = ["build_site"]
