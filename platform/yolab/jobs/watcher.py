"""What a job says while it works."""

import logging

from yolab.reports.trials_table import RunningTrials

logger = logging.getLogger("yolab")


class Watcher:
    """Hears of a job's progress. This one logs what matters; the command line has one that prints and draws."""

    def note(self, text: str) -> None:
        """Hear something that should be known."""
        logger.info(text)

    def progress(self, what: str, done: int = 0, total: int | None = None) -> None:
        """Hear how far a piece of work is; `total` None: nobody knows. Called often."""

    def trials(self, running: RunningTrials) -> None:
        """Hear of a running sweep, about once a second."""
        for line in running.news_lines():
            logger.info(line)


SILENT = Watcher()
