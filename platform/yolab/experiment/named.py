"""Values of an experiment that name a row of a table, such as a policy or an optimiser.

The tables stand where their rows are made, in rooms above this one, which import torch. So a value says by its address
which table it is a name of, and the table is looked at when there is a name to check: a default is none.
"""

import importlib
from collections.abc import Mapping
from typing import Any

from pydantic_core import PydanticCustomError

from yolab.experiment.messages import did_you_mean


def rows_at(address: str) -> Mapping[str, Any]:
    """Return the table at an address, module:NAME, with the rows that were added to it."""
    module, name = address.split(":")
    table: Mapping[str, Any] = getattr(importlib.import_module(module), name)
    return table


def check_row(address: str, name: str) -> str:
    """Return a name if the table at an address has a row of it; tell pydantic what there is if not."""
    rows = rows_at(address)
    if name not in rows:
        meant = did_you_mean(name, rows) if len(rows) > 1 else ""
        told = "Input should be one of {rows}.{meant}"
        raise PydanticCustomError("no_row", told, {"rows": ", ".join(rows), "meant": meant})
    return name
