"""`python -m jaxreg`: the command `jaxreg`."""

from jaxreg.lab.cli import main

if __name__ == "__main__":
    main()
