"""`python -m cli` is the `peer` command."""

from cli.main import main

main()
