"""How the trials of a sweep are shown."""

from yolab.reports.trials_table import RunningTrials, markdown, whole
from yolab.search.trial import TrialState

ENDED = {"trial": "trial-000", "state": TrialState.FINISHED, "point": {"assigner.top_k": 5, "model.scale.width": 0.5},
         "params": 1.25e6, "gflops": 0.5, "ap": 0.25, "ap50": 0.5, "ap_small": float("nan"), "epoch": 4,
         "seconds": 12.34}  # fmt: skip
FAILED = {"trial": "trial-001", "state": TrialState.FAILED, "point": {"assigner.top_k": 6}, "reason": "why",
          "seconds": 0.0}  # fmt: skip
RUNNING = {"trial": "trial-002", "state": TrialState.RUNNING, "point": {"assigner.top_k": 7}, "ap": 0.1, "epoch": 2,
           "epochs": 10, "time_total_s": 450.0, "seconds": 450.0}  # fmt: skip


def test_the_whole_table_has_a_column_for_each_path_and_objective():
    columns, lines = whole([ENDED, FAILED], ["ap", "latency_ms"])
    assert columns == ["trial", "top_k", "width", "params", "GFLOPs", "AP", "AP50", "AP_small", "latency_ms", "seconds",
                       "state"]  # fmt: skip
    assert lines[0][:4] == ["trial-000", "5", "0.5", "1.25 M"]
    assert lines[1][:4] == ["trial-001", "6", "-", None]
    with_front = [row | {"front": row is ENDED} for row in (ENDED, FAILED)]
    assert [line[-1] for line in whole(with_front, ["ap"])[1]] == ["*", ""]
    assert "| trial-000 | 5 | 0.5 | 1.25 M | 0.500 | 0.250 | 0.500 | - | 12.3 | finished |" in markdown([ENDED], ["ap"])


def test_what_runs_comes_first_with_the_time_that_it_will_take():
    rows = [ENDED, FAILED, RUNNING]
    title, _, lines = RunningTrials("scaling", rows, rows, 8).table(most=2)
    assert title == "scaling: 2 of 8 trials ended"
    assert [(line[0], line[-1]) for line in lines] == [("trial-002", "0:30:00"), ("trial-001", "")]


def test_news_are_beginnings_and_ends():
    began = {"trial": "trial-003", "state": TrialState.RUNNING, "point": {"assigner.top_k": 8}}
    assert list(RunningTrials("scaling", [], [ENDED, FAILED, RUNNING, began], None).news_lines()) == [
        "trial-000 top_k=5 width=0.5 finished AP 0.250",
        "trial-001 top_k=6 failed why",
        "trial-003 top_k=8 running ",
    ]
