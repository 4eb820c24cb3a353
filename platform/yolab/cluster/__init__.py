"""Ray: the one place that imports it."""

import os

# Ray reads these when it is imported
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1")  # a report waits for this poll
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # with it Tune prints its settings even when told to be quiet
# a trial that was stopped or paused sends its rest to MLflow before another one has its process
os.environ.setdefault("TUNE_FUNCTION_THREAD_TIMEOUT_S", "30")
# a sweep is stopped by its sign in the storage, so that its trials save their state
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
# the events and checkpoints are all that a sweep needs to go on: Tune writes nothing down again and again
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "inf")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
