"""From a finished trial to a model that takes video.

refit      the trial's settings trained on all subjects
package    the folder: weights, settings, card, MLflow model
card       the model card
model      reads such a folder and labels videos
served     the same for MLflow, loaded from code
picture    key frames with their attention
evaluate   a model on another data set
"""

from __future__ import annotations

from mer_search.export.model import ExportedModel, Prediction, load
from mer_search.export.package import export_trial

__all__ = ["ExportedModel", "Prediction", "export_trial", "load"]
