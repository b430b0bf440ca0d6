"""The model as MLflow serves it: loaded from this code, which finds mer-search installed.

Input: a column `video` with paths, or with the bytes of video files. Output: label, a column per
class with its probability, key frames and their attention.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from mer_search.export.model import ExportedModel, load


class VideoModel(PythonModel):
    """Labels videos."""

    model: ExportedModel

    def load_context(self, context: PythonModelContext) -> None:
        """Reads the package that travels as the artifact `package`."""
        self.model = load(Path(context.artifacts["package"]))

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """One row per video."""
        return pd.DataFrame([self._one(video) for video in model_input["video"]])

    def _one(self, video: str | bytes) -> dict[str, Any]:
        if isinstance(video, str):
            found = self.model.predict(Path(video))
        else:
            with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
                file.write(video)
                file.flush()
                found = self.model.predict(Path(file.name))
        return {
            "label": found.label,
            **found.probabilities,
            "keyframes": found.keyframes,
            "temporal_attention": found.temporal_attention,
        }


mlflow.models.set_model(VideoModel())
