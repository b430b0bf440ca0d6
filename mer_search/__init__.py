"""mer-search: hyperparameter search for facial micro-expression recognition."""

__version__ = "0.1.0"
