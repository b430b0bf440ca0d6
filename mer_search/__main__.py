"""`python -m mer_search` is `mer-search`."""

from mer_search.cli import main

if __name__ == "__main__":
    main()
