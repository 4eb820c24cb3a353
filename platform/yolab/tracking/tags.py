"""The tags of runs in MLflow: what they are found and trusted by."""

DIGEST_TAG = "yolab.digest"
KIND_TAG = "yolab.kind"  # train, trial, or one of
PARENTS = ("sweep", "table")
NAME_TAG = "yolab.name"  # of its folder; MLflow's name of a trial tells more
RECIPE_TAG = "yolab.recipe"  # the digest without the seed: equal for runs of one recipe
DATA_DIGEST_TAG, DATA_VERSION_TAG = "yolab.data_digest", "yolab.data_version"  # of its content; of its pin in DVC
SWEEP_TAG = "yolab.sweep"  # of a trial: what it belongs to
POINT_TAG = "yolab.point"  # of a trial: its values by dotted path, JSON
SCHEDULER_TAG = "yolab.scheduler"
NOTE_TAG = "mlflow.note.content"  # what MLflow shows as the description, Markdown
TABLE_TAG, ROW_TAG = "yolab.table", "yolab.row"
WEIGHTS_TAG = "yolab.weights"  # where the weights of the last checkpoint are, from the storage on
ERROR_TAG = "yolab.error"  # what ended a failed run, in words
