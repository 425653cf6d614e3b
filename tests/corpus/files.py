"""Files that are no data, or stand where they do not belong."""

from __future__ import annotations

import json
import os
import pickle

from tests.builders import METHOD, RIVAL, entry_document
from tests.corpus.cases import Bad, link, move, remove, several, text
from tests.submissions import ENTRY, FOLDER, MODELS, PUBLISHED, RECORD, SAMPLES, edit, write

DEEP = "[" * 13 + "]" * 13
RAW = [
    text("no JSON", "not json", "is not JSON: Expecting value at line 1"),
    text("empty file", "", "is not JSON"),
    text("half a file", json.dumps(entry_document())[:200], "is not JSON"),
    text("a list", "[]", "holds a JSON list; an object is required"),
    text("a trailing comma", '{"a": 1,}', "is not JSON"),
    text("a comment", '{"a": 1} // x', "is not JSON"),
    text("NaN", '{"a": NaN}', "holds NaN, which is not a JSON number; use null"),
    text("Infinity", '{"a": -Infinity}', "holds -Infinity, which is not a JSON number"),
    text("a huge number", '{"a": 1e999}', "which is too large"),
    text("a huge integer", '{"a": ' + "9" * 5_000 + "}", "holds a whole number of 5000 digits, which is too large"),
    text("a name twice", '{"key": 1, "key": 2}', "names 'key' twice in one object; keep one of them"),
    text("a name twice deep inside", '{"a": {"b": [{"c": 1, "c": 1}]}}', "names 'c' twice"),
    text("deep nesting", '{"a": ' + DEEP + "}", "is nested deeper than 12 levels"),
    text("nesting without end", "[" * 200_000, "is nested deeper than 12 levels"),
    text("objects without end", '{"a":' * 100_000, "is nested deeper than 12 levels"),
    text("half a surrogate", '{"a": "\\ud800"}', "holds half a surrogate pair"),
    text("Latin-1", '{"a": "ü"}'.encode("latin-1"), "is not UTF-8 (byte 7); save it as UTF-8"),
    text("a byte order mark", b"\xef\xbb\xbf{}", "is UTF-8 text with a byte order mark, not JSON; save it without"),
    text("UTF-16", '{"a": 1}'.encode("utf-16"), "is UTF-16 text, not JSON; save it as UTF-8"),
    text("a null byte", '{"a": "\x00"}', "is not JSON"),
    text("over a megabyte", "{" + " " * 1_000_000 + "}", "has 1,000,002 bytes; at most 1,000,000 are allowed"),
    text("record with NaN", '{"results": NaN}', "holds NaN", RECORD),
    text("record with a name twice", '{"results": {}, "results": {}}', "names 'results' twice", RECORD),
    text("a pickle", pickle.dumps({"key": METHOD}), "is a pickle, not JSON; pickles are never read"),
    text("an old pickle", pickle.dumps({"key": METHOD}, protocol=2), "is a pickle, not JSON"),
    text("a zip archive", b"PK\x03\x04" + b"\0" * 30, "is a zip archive, not JSON; put JSON there"),
    text("a picture", b"\x89PNG\r\n\x1a\n", "is a PNG image, not JSON"),
    text("a page", "<!doctype html><title>Quota exceeded</title>", "is HTML or XML, not JSON; a URL may have returned"),
    text("a program", b"\x7fELF\x02\x01\x01", "is a program, not JSON; nothing is executed here"),
    text("a script", "#!/bin/sh\nrm -rf /\n", "is a script, not JSON; nothing is executed here"),
    text("a gzip file", b"\x1f\x8b\x08\x00", "is a gzip file, not JSON"),
    text("a pointer of LFS", "version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS, not JSON", RECORD),
    text("pickle as samples", pickle.dumps([1]), "is a pickle, not .npz; pickles are never read", SAMPLES),
    text("NumPy array as samples", b"\x93NUMPY\x01\x00", "is a single NumPy array, not .npz", SAMPLES),
    text("JSON as samples", "{}", "is JSON, not .npz; write it with `apsite eval`", SAMPLES),
    text("HDF5 as samples", b"\x89HDF\r\n", "is an HDF5 file, not .npz", SAMPLES),
    text("page as samples", "<html>", "is HTML or XML, not .npz", SAMPLES),
]  # fmt: skip

IDENTITY = [
    Bad("record in another method's folder", move(RECORD, f"evaluations/{RIVAL}/{MODELS[90]}.json"),
        f"evaluations/{RIVAL}/{MODELS[90]}.json", "method", f"{METHOD!r} does not match the folder {RIVAL!r}"),
    Bad("record under another name", move(RECORD, f"{FOLDER}/model.json"), f"{FOLDER}/model.json", "model_key",
        "does not match the file name 'model.json'; rename one"),
    Bad("entry under another name", move(ENTRY, "entries/Tiny.json"), "entries/Tiny.json", "key",
        "does not match the file name; rename one to match the other"),
    Bad("record without an entry", remove(ENTRY), RECORD, "method", f"{METHOD!r} has no entry; add entries/{METHOD}.json"),
    Bad("samples without a record", remove(RECORD), SAMPLES, "", "has no record next to it; add the .json"),
    Bad("record without samples", remove(SAMPLES), SAMPLES, "", "is missing; add the file that `apsite eval` wrote"),
    Bad("text file", write("entries/notes.txt", "x"), "entries/notes.txt", "", "does not belong here; entries/ holds"),
    Bad("checkpoint", write(f"{FOLDER}/model.pt", b"PK\x03\x04"), f"{FOLDER}/model.pt", "", "does not belong here"),
    Bad("samples among entries", write("entries/x.npz", b"PK"), "entries/x.npz", "", "entries/ holds <method key>.json only"),
    Bad("hidden file", write("entries/.json", "{}"), "entries/.json", "", "does not belong here"),
    Bad("hidden record", write(f"{FOLDER}/.x.json", "{}"), f"{FOLDER}/.x.json", "", "does not belong here"),
    Bad("capital suffix", move(ENTRY, f"entries/{METHOD}.JSON"), f"entries/{METHOD}.JSON", "", "does not belong here"),
    Bad("too deep", write(f"{FOLDER}/more/x.json", "{}"), f"{FOLDER}/more/x.json", "", "does not belong here"),
    Bad("too high", write("evaluations/x.json", "{}"), "evaluations/x.json", "", "does not belong here"),
    Bad("folder named as a file", lambda root: (root / "entries" / "x.json").mkdir(), "entries/x.json", "",
        "is a folder that does not belong here"),
    Bad("link to a file", link(RECORD, "/etc/passwd"), RECORD, "", "is a symbolic link; links are not allowed here"),
    Bad("link to samples", link(SAMPLES, f"{MODELS[95]}.npz"), SAMPLES, "", "is a symbolic link"),
    Bad("link to a folder", link("evaluations/Link_Doe2024Small", FOLDER), "evaluations/Link_Doe2024Small", "",
        "is a symbolic link; links are not allowed here"),
    Bad("pipe", several(remove(ENTRY), lambda root: os.mkfifo(root / ENTRY)), ENTRY, "", "is not an ordinary file"),
    Bad("unknown citation", edit(PUBLISHED, ("provenance.source", "Nobody2020Nothing")), PUBLISHED, "provenance.source",
        "'Nobody2020Nothing' is neither in the reference list nor a method key; cite a known paper"),
]  # fmt: skip
