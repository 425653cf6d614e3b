"""All data in one archive, the same bytes for the same data, as it is attached to a release."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

from apsite.catalogue import Catalogue
from apsite.export import to_csv, to_json_rows

_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that the format knows: the archive must not depend on when it is made
_MODE = 0o100644 << 16
_BESIDE = ("LICENSE-DATA", "CITATION.cff")


def snapshot_bytes(catalogue: Catalogue) -> bytes:
    """A ZIP archive of the data folder of a catalogue.

    It holds ``entries/``, ``evaluations/``, all results as ``apsite.csv`` and ``apsite.json``, licence and citation
    where the folder has them, and ``SHA256SUMS`` over all of that.
    """
    root = catalogue.root
    files = {
        path.relative_to(root).as_posix(): path.read_bytes()
        for folder in ("entries", "evaluations")
        for path in sorted((root / folder).rglob("*"))
        if path.is_file() and not path.is_symlink()
    }
    files |= {name: (root / name).read_bytes() for name in _BESIDE if (root / name).is_file()}
    files |= {"apsite.csv": to_csv(catalogue).encode(), "apsite.json": to_json_rows(catalogue).encode()}
    sums = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in sorted({**files, "SHA256SUMS": sums.encode()}.items()):
            item = zipfile.ZipInfo(name, _TIME)
            item.compress_type, item.external_attr, item.create_system = zipfile.ZIP_DEFLATED, _MODE, 3
            archive.writestr(item, content)
    return stream.getvalue()


def addresses(catalogue: Catalogue) -> list[str]:
    """Every address that entries and records name, each once, in the order of the catalogue."""
    found: list[str | None] = []
    for entry in catalogue.entries.values():
        found += [entry.paper.url, entry.code_url, *(checkpoint.url for checkpoint in entry.checkpoints)]
    found += [record.checkpoint.url for record in catalogue.records.values()]
    return list(dict.fromkeys(address for address in found if address))


def write_snapshot(catalogue: Catalogue, output: Path) -> str:
    """Write the archive and return its SHA-256."""
    from apsite.documents.json_files import atomic_file

    content = snapshot_bytes(catalogue)
    with atomic_file(output) as temporary:
        temporary.write_bytes(content)
    return hashlib.sha256(content).hexdigest()
