"""Runs in MLflow, and the versions of data in DVC."""

import os

# MLflow reads these when it is imported; else it tells of every table that it makes, of every file that it copies, and
# on stdout of every run that has ended
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
