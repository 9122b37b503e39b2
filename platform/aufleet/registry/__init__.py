"""Trained models: packages in the store, versions and aliases in MLflow.

card            what a package says about itself
package         model.safetensors + card.json under their digest, read without pickle
ensemble        several fold members as one network
calibration     temperature and thresholds from out-of-fold predictions
versions        registered models, versions, aliases
mlflow_session  MLflow without telemetry, noise or stray files
"""

from aufleet.registry.card import Card
from aufleet.registry.versions import ModelVersion, Versions, parse_reference

__all__ = ["Card", "ModelVersion", "Versions", "parse_reference"]
