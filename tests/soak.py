"""A sweep under thirty faults of all kinds: `make soak SEED=0`, half an hour.

Without a scheduler it has to come to the same trials, weights and best as in peace; with ASHA its decisions have to be
those that its recorded events give when they are replayed. Nothing is doubled in MLflow, and nothing is left behind.
"""

import logging
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import torch
import yaml
from moto.server import ThreadedMotoServer
from safetensors.torch import load_file

from tests import tiny_set
from tests.acceptance.lab import (
    DATA,
    RUNS,
    YOLAB,
    Lab,
    Work,
    announce_that_a_node_is_taken_away,
    answer_503,
    begin_postgresql_again,
    kill_a_node,
    kill_a_worker,
    kill_the_driver_and_go_on_from_another_machine,
    kill_the_head_and_go_on,
    laboratory,
)
from yolab.cluster.tune_search import scheduler_of
from yolab.experiment import build
from yolab.search.schedulers import Settings
from yolab.search.sweep_folder import SweepFolder
from yolab.search.trial import NAME, POINT, Row
from yolab.storage import Folder, Storage, storage_at
from yolab.tracking.metric_names import in_mlflow
from yolab.tracking.mlflow_runs import client, list_runs

TRIALS, FAULTS = 24, 30
EPOCHS = {"none": 60, "asha": 120}  # enough for all faults
GRACE, REDUCTION = 24, 2
PAUSE_SECONDS = (5.0, 15.0)  # between two faults


@dataclass
class Sweep(Work):
    """A sweep that runs at this moment."""

    lab: Lab
    name: str
    scheduler: str

    def __post_init__(self) -> None:
        self.running = self.lab.start(*asked(self.name, self.scheduler))

    def go_on(self, node: int = 0) -> None:
        self.running = self.lab.start("sweep", "resume", self.name, "--json", node=node)

    @property
    def place(self) -> Storage:
        return storage_at(f"{RUNS}/{self.name}")


def asked(name: str, scheduler: str) -> list[str]:
    rungs = ["--grace", str(GRACE), "--reduction", str(REDUCTION)] if scheduler == "asha" else []
    epochs = f"recipe.epochs={EPOCHS[scheduler]}"
    sweep = ["sweep", "tiny.yaml", epochs, "--space", "space.yaml", "--name", name, "--trials", str(TRIALS), "--json"]
    return [*sweep, "--scheduler", scheduler, *rungs]


def stop_a_worker_for_a_while(work: Work) -> None:
    for _, worker in work.lab.workers()[-1:]:
        worker.suspend()
        time.sleep(10)
        worker.resume()


def cut_a_node_off(work: Work) -> None:
    node = work.lab.other_node()
    work.lab.nodes.cut(node)
    time.sleep(15)  # longer than the cluster waits for it
    work.lab.nodes.mend(node)


def take_mlflow_away(work: Work) -> None:
    work.lab.mlflow.stop()
    time.sleep(15)
    work.lab.mlflow.start()


def be_busy_then_cut_what_is_sent(work: Work) -> None:
    answer_503(work, 10)
    work.lab.line.faults = ["cut", "", "", "lost", "", "torn"]


def fill_a_disk_for_a_while(work: Work) -> None:
    node = work.lab.other_node()
    work.lab.nodes.fill(node)
    time.sleep(5)
    work.lab.nodes.empty(node)


KINDS: tuple[Callable[[Work], None], ...] = (
    *(kill_a_worker, stop_a_worker_for_a_while, kill_a_node, cut_a_node_off, announce_that_a_node_is_taken_away),
    *(take_mlflow_away, begin_postgresql_again, be_busy_then_cut_what_is_sent, fill_a_disk_for_a_while),
    *(kill_the_driver_and_go_on_from_another_machine, kill_the_head_and_go_on),
)


def main(seed: int) -> None:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # not each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "lab")
        folder.mkdir()
        data = tiny_set.write(folder / "tiny", {"train2017": 24, "val2017": 8})
        changes = {"recipe__evaluate_every": GRACE}
        described = build({}, tiny_set.experiment(data, **changes), "the soak").model_dump()
        (folder / "alone.yaml").write_text(yaml.safe_dump(described))
        (folder / "tiny.yaml").write_text(yaml.safe_dump(described | {"data": described["data"] | {"path": DATA}}))
        space = "recipe.optimiser.lr: {loguniform: [0.001, 0.1]}\nassigner.top_k: {randint: [5, 16]}\n"
        (folder / "space.yaml").write_text(space)
        peace = [*YOLAB, *asked("peace", "none"), "--storage", "alone"]
        print("In peace …", flush=True)
        subprocess.run(["alone.yaml" if word == "tiny.yaml" else word for word in peace], cwd=folder, check=True,
                       capture_output=True)  # fmt: skip
        with laboratory(folder, data, "http://{}:{}".format(*server.get_host_and_port())) as lab:
            for scheduler in ("none", "asha"):
                sweep = disturbed(lab, scheduler, seed)
                check_that_nothing_is_doubled_or_left(sweep)
                if scheduler == "none":
                    check_that_it_is_the_same(SweepFolder(Folder(folder / "alone" / "peace")), sweep, folder)
                else:
                    check_that_decisions_are_those_of_the_events(sweep)
    server.stop()


def disturbed(lab: Lab, scheduler: str, seed: int) -> Sweep:
    """Run a sweep under faults to its end."""
    draw = random.Random(f"{scheduler} {seed}")
    kinds = [draw.choice(KINDS) for _ in range(FAULTS - len(KINDS))] + list(KINDS)
    draw.shuffle(kinds)
    sweep = Sweep(lab, f"{scheduler}-{seed}", scheduler)
    struck = Counter[str]()
    started = time.monotonic()
    while SweepFolder(sweep.place).ended() == 0:
        assert sweep.running.poll() is None, sweep.running.communicate()
        time.sleep(1)
    for kind in kinds:
        time.sleep(draw.uniform(*PAUSE_SECONDS))
        if sweep.running.poll() == 0:
            break
        print(f"{time.monotonic() - started:5.0f} s  {SweepFolder(sweep.place).ended():2d} trials  {kind.__name__}",
              flush=True)  # fmt: skip
        kind(sweep)
        struck[kind.__name__] += 1
        lab.make_whole()
        if sweep.running.poll() not in (None, 0):  # as somebody does who finds it so in the morning
            print(sweep.running.communicate()[1][-2000:], flush=True)
            sweep.go_on()
    seconds = 0
    while sweep.running.poll() is None:
        seconds += 1
        assert seconds < 900, f"the sweep hangs: {SweepFolder(sweep.place).rows()}"
        time.sleep(1)
    _, errors = sweep.running.communicate()
    assert sweep.running.returncode == 0, errors
    seconds = round(time.monotonic() - started)
    assert sum(struck.values()) == FAULTS, (
        f"the sweep was over after {sum(struck.values())} faults: give it more epochs"
    )
    print(f"{scheduler}, seed {seed}: {sum(struck.values())} faults in {seconds} s, {dict(struck)}")
    return sweep


def check_that_nothing_is_doubled_or_left(sweep: Sweep) -> None:
    rows = SweepFolder(sweep.place).rows()
    assert sorted(rows) == [f"trial-{number:03d}" for number in range(TRIALS)]
    assert {row["state"] for row in rows.values()} <= {"finished", "stopped early"}, rows
    uri = sweep.lab.uri
    runs = list_runs(uri, where=f"tags.`yolab.sweep` = '{sweep.name}'")
    assert sorted(run["name"] for run in runs) == sorted(rows)
    assert {run["status"] for run in runs} == {"FINISHED"}
    for run in runs:
        history = client(uri).get_metric_history(run["run_id"], in_mlflow("loss"))
        assert sorted(point.step for point in history) == list(range(1, rows[run["name"]]["epoch"] + 1)), run["name"]
    look = "import ray; from ray.util import placement_group_table as table; ray.init(logging_level='ERROR'); "
    look += "print('left', [g for g in table().values() if g['state'] != 'REMOVED'])"
    told = sweep.lab.nodes.run([sys.executable, "-c", look], sweep.lab.folder).stdout
    assert told.strip().endswith("left []"), told
    deadline = time.monotonic() + 30  # for Ray to end the processes of who has left
    while left := sweep.lab.workers():
        assert time.monotonic() < deadline, left
        time.sleep(1)


def check_that_it_is_the_same(peace: SweepFolder, sweep: Sweep, scratch: Path) -> None:
    ours, theirs = SweepFolder(sweep.place).rows(), peace.rows()
    best = [max(rows, key=lambda name: rows[name]["ap"]) for rows in (ours, theirs)]
    for name, row in theirs.items():
        assert (ours[name][POINT], ours[name]["ap"]) == (row[POINT], row["ap"]), name
        learned = load_file((sweep.place / name).local("weights.safetensors", scratch))
        undisturbed = load_file(row["weights"])
        assert all(torch.equal(learned[key], undisturbed[key]) for key in undisturbed), name
    assert best[0] == best[1]
    print(f"The same {len(ours)} points, weights and best, {best[0]}.")


def check_that_decisions_are_those_of_the_events(sweep: Sweep) -> None:
    rows = SweepFolder(sweep.place).rows()
    found = {name: row["epoch"] for name, row in rows.items() if row["state"] == "stopped early"}
    replayed = stops(SweepFolder(sweep.place).news())
    assert found == replayed, f"stopped: {found}, by the events: {replayed}"
    print(f"The same {len(found)} of {len(rows)} trials were stopped early as by the events.")


def stops(events: list[Row]) -> dict[str, int]:
    """Return at which epochs ASHA ends trials, by what is recorded of them, in that order."""
    scheduler, known, found = scheduler_of("asha", Settings(EPOCHS["asha"], GRACE, REDUCTION)), {}, dict[str, int]()
    for event in events:
        name, epoch = event[NAME], event.get("epoch", 0)
        if event["state"] != "running" or not epoch or name in found:
            continue
        if name not in known:
            known[name] = SimpleNamespace(trial_id=name)
            scheduler.on_trial_add(None, known[name])
        if scheduler.on_trial_result(None, known[name], event) == "STOP" and epoch < EPOCHS["asha"]:
            found[name] = epoch
    return found


if __name__ == "__main__":
    main(int(sys.argv[1]))
