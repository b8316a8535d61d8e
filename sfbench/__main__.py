"""`python -m sfbench` is the command `sfbench`."""

from sfbench.cli.main import main

if __name__ == "__main__":
    main()
