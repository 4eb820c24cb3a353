"""Runs in MLflow, and the versions of data in DVC."""

import os

# MLflow reads these when it is imported; else it tells of every table that it makes and of every file that it copies
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
