"""`python -m chimera.cli`: the command line where its script is not on PATH."""

from chimera.cli.main import main

if __name__ == "__main__":
    main()
