"""`python -m weightspace.bench` is the command line, for where the console script is not."""

from .cli.app import main

main()
