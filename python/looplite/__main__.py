"""``python -m looplite``: the command line (cli/)."""

from looplite.cli import main

if __name__ == "__main__":
    main()
