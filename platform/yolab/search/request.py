"""What a sweep was asked for, as it stands in its folder, so that it can go on by its name alone."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from yolab.errors import UsageError
from yolab.search.trial import Row


@dataclass(frozen=True)
class SweepRequest:
    """`experiment` and `space` as their files say it; `digest` of the experiment with its data; `known` are trials of
    earlier sweeps to learn from. `trials` None: all points of a grid."""

    experiment: dict[str, Any]
    digest: str
    space: dict[str, Any]
    searcher: str
    scheduler: str
    objectives: tuple[str, ...]
    trials: int | None
    grace: int
    reduction: int
    retries: int
    known: tuple[Row, ...] = ()

    @classmethod
    def of(cls, work: dict[str, Any], where: str) -> "SweepRequest":
        """Return the request that a folder, `where`, describes as its work. Raises UsageError if it is none."""
        try:
            if set(work) <= {field.name for field in fields(cls)}:
                return TypeAdapter(cls).validate_python(work)
        except ValidationError:
            pass
        raise UsageError(f"{where} is not the folder of a sweep, or of one that an earlier yolab made.")

    def work(self) -> dict[str, Any]:
        """Return all of it as JSON has it."""
        return asdict(self)

    def with_more(self, trials: int) -> "SweepRequest":
        """Return the request for so many trials more. Raises UsageError if there are none."""
        if self.trials is None:
            raise UsageError("All points of the grid are asked for already: fork the sweep with a wider space.")
        return replace(self, trials=self.trials + trials)
