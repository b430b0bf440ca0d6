"""What the process imports that `drivers` forks from, with the settings that Ray reads then."""

import importlib
import os

from mer_search.search.cluster import RAY

HEAVY = ("cli", "search.live", "search.nested", "search.searcher", "search.worker",
         "tracking.mirror")  # fmt: skip

for name, value in RAY.items():
    os.environ.setdefault(name, value)
for name in HEAVY:
    importlib.import_module(f"mer_search.{name}")
