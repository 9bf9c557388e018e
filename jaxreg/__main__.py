"""Entry point of `python -m jaxreg`, which runs the command `jaxreg`."""

from jaxreg.lab.cli import main

if __name__ == "__main__":
    main()
