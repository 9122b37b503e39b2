"""MLflow, opened quietly: no telemetry, nothing printed, nothing outside the state directory."""

import logging
import os
import warnings
from typing import TYPE_CHECKING

from aufleet.errors import RegistryError
from aufleet.storage.home import state_dir

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

URI_VARIABLE = "AUFLEET_MLFLOW_URI"


def mlflow_uri() -> str:
    """Return where MLflow's records lie: the environment's tracking server, else a local file."""
    return os.environ.get(URI_VARIABLE) or f"sqlite:///{state_dir() / 'mlflow.db'}"


def open_mlflow(uri: str | None = None) -> "MlflowClient":
    """Return a client; the first call on a new machine creates the tables (seconds).

    Raises:
        RegistryError: MLflow's server or file cannot be opened.
    """
    # Both are read when mlflow is imported.
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    uri = uri or mlflow_uri()
    with warnings.catch_warnings():
        # MLflow uses what SQLAlchemy 2.1 deprecates; nobody here can mend it.
        warnings.simplefilter("ignore")
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
        from sqlalchemy.exc import SQLAlchemyError

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            client.search_registered_models(max_results=1)
        except (MlflowException, SQLAlchemyError, OSError) as error:
            reason = str(error).partition("\n")[0]
            raise RegistryError(
                f"MLflow at {uri} cannot be opened ({reason})", f"check {URI_VARIABLE}"
            ) from None
    return client
