"""Stands in for GitHub's command line in tests of the workflows: answers from files, and keeps what is posted."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

fixtures, *arguments = sys.argv[1:]
folder = Path(fixtures)
if arguments[0] in ("auth", "pr", "release"):
    raise SystemExit
named = {
    arguments[position]: arguments[position + 1]
    for position in range(len(arguments) - 1)
    if arguments[position] in ("--jq", "--method", "--field")
}
path = next(argument for argument in arguments[1:] if argument.startswith("repos/")).partition("?")[0]
if named.get("--method", "GET") != "GET":
    name, _, source = named["--field"].partition("=@")
    body = Path(source).read_text(encoding="utf-8")
    posted = {"method": named["--method"], "path": path, name: body}
    (folder / "posted.json").write_text(json.dumps(posted), encoding="utf-8")
elif path.endswith("/zip"):
    sys.stdout.buffer.write((folder / "archive.zip").read_bytes())
else:
    text = (folder / f"{path.rpartition('/')[2]}.json").read_text(encoding="utf-8")
    if "--jq" in named:
        # The platform's tool has its own jq inside.
        text = subprocess.run(
            [shutil.which("jq") or "jq", "--raw-output", named["--jq"]],
            input=text,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    sys.stdout.write(text)
