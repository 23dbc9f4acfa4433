"""`python -m pacos.cli`, the `pacos` command of a checkout that is not installed."""

from pacos.cli import main

main()
