"""What yolab does, a function for each verb, with typed arguments and a frozen result. The command line, notebooks and
pages call these and nothing below them.

torch, Ray and MLflow take seconds to import, and `yolab --help` and `yolab sweep list` need none of them: what
`from yolab.jobs import train_job` gives is executed when something in it is first asked for. This is the one place that
sees to it.
"""

import importlib
import pkgutil
import signal
from types import ModuleType
from typing import Any

from yolab.errors import UsageError
from yolab.signals import STOP_SIGNALS, answered_afterwards

_OF_CLUSTER = ("dvc", "optuna", "ray")  # what an installation without the extra `cluster` lacks


def _imported(name: str) -> ModuleType:
    """Import a module. What tells the job to stop waits until that is done: an import that is broken off leaves halves
    of modules behind, on which whatever is done next stumbles."""
    with answered_afterwards([*STOP_SIGNALS, signal.SIGINT]):
        return importlib.import_module(name)


class _Lazy(ModuleType):
    """Stands for a module of this package, and imports it at the first look into it.

    importlib's LazyLoader can't: it puts the module into `sys.modules`, where `inspect`, which torch asks while it is
    imported, looks into every module.
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return getattr(_imported(self.__name__), name)
        except ModuleNotFoundError as error:
            if error.name not in _OF_CLUSTER:
                raise
            raise UsageError(f"This needs {error.name}, which isn't installed: pip install 'yolab[cluster]'.") from None


for _module in pkgutil.iter_modules(__path__):
    globals()[_module.name] = _Lazy(f"{__name__}.{_module.name}")
