"""The model as MLflow serves it: this code is copied and run by MLflow, mer-search is installed.

Input, one row per clip: `video`, the path of a video file or of a folder of images where the model
runs; or `content`, the bytes of a video file (base64 in JSON, where a request has one of the two).
Output: the columns of `predict --json`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from mer_search.errors import InputError
from mer_search.export.model import ExportedModel, Prediction
from mer_search.export.reading import load

COLUMNS = ("video", "content")


class VideoModel(PythonModel):
    """Labels videos."""

    model: ExportedModel

    def load_context(self, context: PythonModelContext) -> None:
        """Reads the package that travels as an artifact; its errors are those of `load`."""
        self.model = load(Path(context.artifacts["package"]))

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """One row per clip.

        Raises:
            MlflowException: with all rows that cannot be labelled; a server sends its message on.
        """
        rows, faults = [], []
        for place, row in enumerate(model_input.to_dict("records")):
            try:
                rows.append(self._one(row).as_json())
            except InputError as fault:
                faults += [f"row {place}, {fault.where}: {each}" for each in fault.faults]
        if not rows and not faults:
            faults = [
                "needs rows with a column video (a path) or content (bytes); give a DataFrame"
            ]
        if faults:
            raise MlflowException(str(InputError("input", faults)), INVALID_PARAMETER_VALUE)
        return pd.DataFrame(rows)

    def _one(self, row: Mapping[Hashable, Any]) -> Prediction:
        given = [value for name in COLUMNS if isinstance(value := row.get(name), str | bytes)]
        if len(given) != 1:
            raise InputError(
                "columns", f"{len(given)} of video and content hold something; fill one of them"
            )
        if isinstance(given[0], str):
            return self.model.predict(Path(given[0]))
        with tempfile.NamedTemporaryFile(suffix=".video") as file:
            file.write(given[0])
            file.flush()
            try:
                return self.model.predict(Path(file.name))
            except InputError as fault:
                raise InputError(f"{len(given[0])} bytes", fault.faults) from fault


set_model(VideoModel())
