"""What the scores and counts of a model are called, in a checkpoint, a sweep's events, MLflow and the registry.

Names alone: what lists sweeps or runs needs no torch.
"""

METRICS = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")  # the six that a run is known by
ALL_METRICS = (*METRICS, "ar_1", "ar_10", "ar_100", "ar_small", "ar_medium", "ar_large")  # COCO's twelve, in its order
TRIAL_METRICS = ("ap", "ap50", "ap_small")  # those that a sweep follows, and may have as objectives
LATENCY = "latency_ms"  # of an image, see `latency.seconds_of`
COUNTS = ("params", "params_fused", "gflops")  # see `models.count.Cost`
