"""`python -m host`: the command line."""

from host.cli import main

main()
