"""mer-search: hyperparameter search for facial micro-expression recognition.

For notebooks: `launch`, `results`, `predictions`, `load_model`, imported at their first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mer_search.notebook import launch, load_model, predictions, results

__version__ = "0.1.0"
__all__ = ["__version__", "launch", "load_model", "predictions", "results"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'mer_search' has no attribute {name!r}")
    from mer_search import notebook

    return getattr(notebook, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
