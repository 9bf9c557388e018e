"""`python -m jaxreg`: the command `jaxreg`."""

from jaxreg.lab.cli import main

main()
