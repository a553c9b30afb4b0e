"""`python -m neuroloom`: the command, where its script is not on the path."""

from neuroloom.flows.main import main

if __name__ == "__main__":
    main()
