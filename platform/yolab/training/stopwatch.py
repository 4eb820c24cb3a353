"""Where the time of a step goes, without waiting for the device."""

import time

import torch

PHASES = ("data", "forward", "loss", "backward", "exchange", "optimiser")
OWN_PHASES = tuple(phase for phase in PHASES if phase != "exchange")  # without the wait for other workers


class Stopwatch:
    """Sums the seconds of each phase. On a GPU they are its own, by events that are read at the end; the wait for data
    is the host's in either case."""

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._seconds = dict.fromkeys(PHASES, 0.0)
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []
        self._last_time = time.perf_counter()
        self._last_event: torch.cuda.Event | None = None

    def lap(self, phase: str) -> None:
        """Give the time since the last lap to a phase."""
        now = time.perf_counter()
        if not self._on_gpu or phase == "data":
            self._seconds[phase] += now - self._last_time
        self._last_time = now
        if self._on_gpu:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            if self._last_event is not None and phase != "data":
                self._events.append((phase, self._last_event, event))
            self._last_event = event

    def shares(self, steps: int) -> dict[str, float]:
        """Return seconds of a step, by phase, as `step_data_seconds` and so on; waits for the device."""
        if self._on_gpu:
            torch.cuda.synchronize()
        for phase, start, end in self._events:
            self._seconds[phase] += start.elapsed_time(end) / 1000
        return {f"step_{phase}_seconds": seconds / steps for phase, seconds in self._seconds.items()}
