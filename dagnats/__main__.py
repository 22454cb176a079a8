"""`python -m dagnats` is the command line."""

from dagnats.cli import main

if __name__ == "__main__":
    main()
