"""Lighthouse scores of the built site: a table, and a failure where a page is below a threshold or moves as it loads.

    apsite build && python scripts/lighthouse.py build/site

Serves the site on this machine like a static host: gzipped, cached for ten minutes. Requires Node, its `npx`, which
downloads Lighthouse once, and Chromium. Loads each page several times and takes the median. The profile `mobile` is
Lighthouse's own, with a simulated slow connection and a CPU four times slower than this one.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from threading import Thread

LIGHTHOUSE = "lighthouse@12.8.2"
PAGES = (
    "index.html", "leaderboard.html", "results.html", "curves.html", "analysis.html", "methods.html",
    "methods/HARP_Zhao2023Holistic.html",
)  # fmt: skip
THRESHOLDS = {"performance": 98, "accessibility": 100, "best-practices": 100}
"""Least score of each category, of 100."""
MOST_SHIFT = 0.05
"""Largest cumulative layout shift: how far, and how much of, the window moves without being asked to."""
METRICS = {
    "first-contentful-paint": "first paint",
    "largest-contentful-paint": "largest paint",
    "total-blocking-time": "blocked",
    "cumulative-layout-shift": "shift",
    "speed-index": "speed index",
}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = "--headless=new --no-sandbox --disable-gpu --disable-background-networking"
TIMEOUT = 180


class GzipHandler(SimpleHTTPRequestHandler):
    """Serves files gzipped, with leave to keep them, as hosts of static pages do."""

    def do_GET(self) -> None:
        """Answer with a file or with 404."""
        path = Path(self.translate_path(self.path))
        path = path / "index.html" if path.is_dir() else path
        if not path.is_file():
            self.send_error(404)
            return
        content = gzip.compress(path.read_bytes(), 6)
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(path))
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "max-age=600")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing; the report names what is missing."""


@contextmanager
def served(site: Path) -> Iterator[str]:
    """URL of `site` on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(GzipHandler, directory=str(site))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def report(address: str, profile: str, browser: str, path: Path) -> dict:
    """Lighthouse's report of one load of a page; it is left at `path`."""
    command = ["npx", "--yes", LIGHTHOUSE, address, "--quiet", "--output=json", f"--output-path={path}"]
    command += [f"--chrome-flags={FLAGS}", f"--only-categories={','.join(THRESHOLDS)}"]
    command += ["--preset=desktop"] if profile == "desktop" else []
    done = subprocess.run(
        command, env=os.environ | {"CHROME_PATH": browser}, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    if done.returncode or not path.is_file():
        sys.exit(f"lighthouse did not finish on {address}:\n{(done.stdout + done.stderr).strip()[-2000:]}")
    found = json.loads(path.read_text(encoding="utf-8"))
    if problem := found.get("runtimeError"):
        sys.exit(f"lighthouse could not load {address}: {problem['message']}")
    return found


def scores(reports: list[dict]) -> dict[str, int]:
    """Median score of each category, of 100."""
    return {name: round(100 * median(one["categories"][name]["score"] or 0 for one in reports)) for name in THRESHOLDS}


def shift(reports: list[dict]) -> float:
    """Median cumulative layout shift."""
    return median(one["audits"]["cumulative-layout-shift"]["numericValue"] for one in reports)


def failures(found: dict[str, int], moved: float) -> list[str]:
    """Categories whose score is below the threshold, and a layout shift above it, in words."""
    low = [f"{name} {found[name]} < {least}" for name, least in THRESHOLDS.items() if found[name] < least]
    return low + ([f"layout shift {moved:.3f} > {MOST_SHIFT}"] if moved > MOST_SHIFT else [])


def complaints(reports: list[dict]) -> list[str]:
    """Audits that cost points in some load, most of them first."""
    found: dict[str, float] = {}
    for one in reports:
        for category in THRESHOLDS:
            for part in one["categories"][category]["auditRefs"]:
                score = one["audits"][part["id"]]["score"]
                if part["weight"] and score is not None and score < 0.9:
                    found[part["id"]] = min(score, found.get(part["id"], 1))
    return sorted(found, key=lambda name: found[name])


def main() -> None:
    """Print the table; exit with 1 if a page is below a threshold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", type=Path, nargs="?", default=Path("build/site"), help="built site (build/site)")
    parser.add_argument("--profile", choices=("mobile", "desktop"), default="mobile")
    parser.add_argument("--runs", type=int, default=3, help="loads of each page; the median counts (3)")
    parser.add_argument("--pages", nargs="+", default=list(PAGES), help=f"pages below the site ({' '.join(PAGES)})")
    parser.add_argument("--reports", type=Path, help="folder to keep the reports in")
    chosen = parser.parse_args()
    if not (chosen.site / "index.html").is_file():
        sys.exit(f"{chosen.site}: holds no built site; run `apsite build` first")
    browser = os.environ.get("CHROME_PATH") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None or shutil.which("npx") is None:
        sys.exit("needs npx (Node) and Chromium; on Debian: apt-get install npm chromium")
    failed = []
    columns = [*THRESHOLDS, *METRICS.values()]
    print(f"profile {chosen.profile}, median of {chosen.runs}")
    print(f"{'page':<36}" + "".join(f"{name:>15}" for name in columns), flush=True)
    with served(chosen.site) as base, tempfile.TemporaryDirectory() as scratch:
        folder = chosen.reports or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for page in chosen.pages:
            names = [f"{page.replace('/', '_')}.{chosen.profile}.{number}.json" for number in range(chosen.runs)]
            reports = [report(base + page, chosen.profile, browser, folder / name) for name in names]
            found = scores(reports)
            middle = sorted(reports, key=lambda one: one["categories"]["performance"]["score"] or 0)[len(reports) // 2]
            shown = [str(found[name]) for name in THRESHOLDS]
            shown += [middle["audits"][name]["displayValue"] for name in METRICS]
            print(f"{page:<36}" + "".join(f"{text:>15}" for text in shown), flush=True)
            failed += [
                f"{page}: {problem} ({', '.join(complaints(reports))})" for problem in failures(found, shift(reports))
            ]
    if failed:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main()
