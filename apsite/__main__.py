"""``python -m apsite`` is the command line."""

from apsite.cli import main

main()
