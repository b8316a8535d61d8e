"""`python -m sfbench` is the command `sfbench`."""

from sfbench.cli.app import main

if __name__ == "__main__":
    main()
