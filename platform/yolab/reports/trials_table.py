"""How the trials of a sweep are shown: while they run, and afterwards."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from yolab.search.trial import Row, brief, state_of

SHORT = {"model.scale.depth": "depth", "model.scale.width": "width", "assigner.top_k": "top_k"}
_SHOWN = {"params": "params", "gflops": "GFLOPs", "ap": "AP", "ap50": "AP50", "ap_small": "AP_small"}


def whole(rows: Sequence[Mapping[str, Any]], objectives: Sequence[str]) -> tuple[list[str], list[list[Any]]]:
    """Return columns and lines of a sweep's trials, in the order given."""
    paths = list(dict.fromkeys(path for row in rows for path in row["point"]))
    measured = [name for name in objectives if name not in _SHOWN]
    with_front = any("front" in row for row in rows)
    lines = []
    for row in rows:
        point = [brief(row["point"].get(path, "-")) for path in paths]
        params = f"{row['params'] / 1e6:.2f} M" if "params" in row else None
        scores = [row.get(name) for name in ("gflops", "ap", "ap50", "ap_small", *measured)]
        line = [row["trial"], *point, params, *scores, f"{row['seconds']:.1f}", row["state"]]
        lines.append([*line, "*" if row["front"] else ""] if with_front else line)
    columns = ["trial", *(SHORT.get(path, path) for path in paths), *_SHOWN.values(), *measured]
    return [*columns, "seconds", "state", *["front"] * with_front], lines


def markdown(rows: Sequence[Mapping[str, Any]], objectives: Sequence[str]) -> str:
    """Return the table in Markdown, as MLflow's page shows it."""
    columns, lines = whole(rows, objectives)
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in (columns, ["---"] * len(columns), *lines))


@dataclass(frozen=True)
class RunningTrials:
    """A sweep that runs, as it is at a moment: what is known of each trial, the events since the last look, and how
    many trials there will be, if that is known."""

    sweep: str
    rows: Sequence[Row]
    news: Sequence[Row]
    total: int | None

    def table(self, most: int) -> tuple[str, list[str], list[list[Any]]]:
        """Return title, columns and at most so many lines, the trials that run first."""
        ended = [row for row in self.rows if state_of(row).has_ended]
        shown = [row for row in self.rows if not state_of(row).has_ended] + ended[::-1]
        lines = [
            [row["trial"], _point(row["point"]), row.get("epoch", 0), row.get("ap", 0.0), row["state"], _time_left(row)]
            for row in shown[:most]
        ]
        of = f" of {self.total}" if self.total else ""
        title = f"{self.sweep}: {len(ended)}{of} trials ended"
        return title, ["trial", "point", "epoch", "AP", "state", "time left"], lines

    def news_lines(self) -> Iterator[str]:
        """Yield a line for each trial that began or ended."""
        for event in self.news:
            if state_of(event).has_ended or "epoch" not in event:
                score = f"AP {event['ap']:.3f}" if "ap" in event else event.get("reason", "")
                yield " ".join([event["trial"], _point(event["point"]), event["state"], score])


def _time_left(row: Row) -> str:
    """Return how long a running trial will still take, if nothing stops it."""
    if state_of(row).has_ended or "time_total_s" not in row:
        return ""
    seconds = round((row["epochs"] - row["epoch"]) * row["time_total_s"] / row["epoch"])
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def _point(config: Mapping[str, Any]) -> str:
    return " ".join(f"{SHORT.get(path, path)}={brief(value)}" for path, value in config.items())


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.3f}"
    return "-" if value is None else str(value)
