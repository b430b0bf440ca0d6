"""From a finished trial to a model that takes video.

chosen     a finished trial of a stored search, what it is worth, the clips it saw
refit      its settings trained on all subjects
package    the folder: weights, settings, card, MLflow model; `export_trial` does all of it
card       the model card
reading    reads such a folder, refuses what is not what was written
portable   the part after the key frames as ONNX and torch.export files
model      labels videos
served     the same for MLflow, loaded from code
registry   MLflow's forms: the pyfunc, a version in a model registry
picture    key frames with their attention
evaluate   a model on another data set
"""

from __future__ import annotations

from mer_search.export.model import ExportedModel, Prediction
from mer_search.export.package import export_trial
from mer_search.export.reading import load

__all__ = ["ExportedModel", "Prediction", "export_trial", "load"]
