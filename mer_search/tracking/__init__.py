"""MLflow as a projection of the ledger: written from it, repaired from it, never read for truth.

place        which MLflow: an address, or a SQLite file in the store
mirror       one search as a parent run with one child per trial
runs         those runs as MLflow has them
apart        the mirror in a process of its own
background   what keeps that process at work beside a search, and never waits for it
"""
