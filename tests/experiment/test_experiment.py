from pathlib import Path
from typing import Any

import pytest

from yolab.errors import UsageError
from yolab.experiment import Experiment, build, deviations, did_you_mean, load

SHIPPED = sorted((Path(__file__).parents[2] / "pipelines" / "experiments").glob("*.yaml"))


def experiment(**changes: Any) -> Experiment:
    return build({"name": "a-run"}, changes, source="test")


def refusal(values: dict[str, Any], changes: dict[str, Any] | None = None) -> str:
    """Return the words in which an experiment is refused."""
    with pytest.raises(UsageError) as refused:
        build({"name": "a-run"} | values, changes or {}, source="here.yaml")
    return str(refused.value)


def write(folder: Path, text: str, name: str = "experiment.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_name_is_enough_and_the_papers_recipe_the_default() -> None:
    described = experiment()
    assert (described.model.name, described.recipe.epochs, described.recipe.optimiser.lr) == ("yolov7", 300, 0.01)
    assert described.data.augment.preset == "p5"


def test_an_experiment_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        experiment().recipe.batch = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("model.dept", "model.scale.depth"),
        ("model.scale.dept", "model.scale.depth"),
        ("recipe.lr", "recipe.optimiser.lr"),
        ("assigner.topk", "assigner.top_k"),
        ("sed", "seed"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(wrong: str, meant: str) -> None:
    told = refusal({}, {wrong: 1})
    assert f"{wrong} is unknown (in the command line)" in told
    assert f"Did you mean {meant}?" in told


def test_an_unknown_key_in_a_file_is_refused_with_the_files_name() -> None:
    told = refusal({"model": {"scale": {"dept": 1.5}}})
    assert "model.scale.dept is unknown (in here.yaml). Did you mean model.scale.depth?" in told


@pytest.mark.parametrize(
    ("name", "known", "told"),
    [
        ("batch", ["recipe.batch", "recipe.warmup.batches", "data.path"], " Did you mean recipe.batch?"),
        ("bccd", ["demo", "bccd-scaling-of-monday"], " Did you mean bccd-scaling-of-monday?"),
        ("dept only", ["depth only (2.0 d)", "width"], " Did you mean 'depth only (2.0 d)'?"),
        ("s1", ["gpu-smoke", "demo"], " Known: demo, gpu-smoke."),
        ("s1", [f"run-{letter}" for letter in "abcdefgh"], ""),
        ("", ["demo"], " Known: demo."),
        ("s1", [], ""),
    ],
)
def test_what_is_alike_is_told_and_where_nothing_is_what_there_is_if_it_is_little(name, known, told) -> None:
    assert did_you_mean(name, known) == told


def test_overrides_are_texts_or_values_by_path(tmp_path) -> None:
    (tmp_path / "e.yaml").write_text("name: e\n")
    by_value = {"recipe.epochs": 7, "recipe.freeze": ["stem"]}
    assert load(tmp_path / "e.yaml", by_value) == load(tmp_path / "e.yaml", ["recipe.epochs=7", "recipe.freeze=[stem]"])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("recipe.batch", "16"),
        ("recipe.batch", 16.0),
        ("recipe.batch", True),
        ("seed", None),
        ("name", 2024),
        ("name", "../elsewhere"),
        ("model", 5),
        ("recipe.optimiser.lr", "fast"),
        ("compute.precision", "fp8"),
        ("assigner.policy", "random"),
        ("data.augment.flip", [0.5]),
    ],
)
def test_a_wrong_type_or_choice_is_refused_with_its_place(path: str, value: Any) -> None:
    assert f"{path} can't be {value!r} (in the command line)" in refusal({}, {path: value})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("recipe.batch", 0),
        ("recipe.epochs", 0),
        ("recipe.optimiser.lr", 0),
        ("data.augment.mixup", 1.5),
        ("recipe.ema.decay", 1),
        ("assigner.top_k", -1),
        ("model.scale.depth", 100),
        ("seed", -1),
    ],
)
def test_a_number_out_of_range_is_refused_with_its_bound(path: str, value: float) -> None:
    told = refusal({}, {path: value})
    assert f"{path} can't be {value}" in told
    assert "it should be" in told


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (0, "compute.workers can't be 0 (in the command line): it should be a whole number from 1 on"),
        (True, "compute.workers can't be True"),
        ("two", "such as {min: 2, max: 8}"),
        ({"min": 3, "max": 2}, "a min that is at most its max"),
        ({"min": 0, "max": 2}, "compute.workers.min can't be 0"),
        ({"max": 2}, "compute.workers.min is missing in the command line"),
        ({"min": 1, "max": 2, "usual": 1}, "compute.workers.usual is unknown"),
    ],
)
def test_a_wrong_number_of_workers_is_refused_in_a_sentence(given: Any, told: str) -> None:
    assert told in refusal({}, {"compute.workers": given})


def test_workers_are_written_as_they_are_given() -> None:
    ranged = {"min": 2, "max": 4}
    for given, flat in ((3, {"compute.workers": 3}), (ranged, {"compute.workers.min": 2, "compute.workers.max": 4})):
        built = build({"name": "a-run", "compute": {"workers": given}}, {}, "test")
        assert flat.items() <= built.flat().items()
        assert deviations(built) == flat
        assert build(built.model_dump(), {}, "test") == built
        assert build(built.model_dump(), {"compute.workers": 2}, "test").compute.workers.max == 2


def test_every_mistake_is_told_at_once() -> None:
    told = refusal({}, {"recipe.batch": 0, "seed": -1})
    assert "recipe.batch" in told
    assert "seed" in told


def test_a_key_given_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, "name: a-run\nrecipe:\n  batch: 8\n  epochs: 2\n  batch: 16\n")
    with pytest.raises(UsageError, match=r"line 5, column 3: batch is given twice"):
        load(path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: [", "not valid YAML"),
        ("- a\n- b\n", "must hold a mapping"),
        ("", "must hold a mapping"),
        ("name: a\nextends: none.yaml\n", "extends none.yaml: Can't read .*none.yaml"),
        ("name: !!python/name:os.system a\n", "not valid YAML"),
        ("name: " + "[" * 200_000, "not valid YAML: it is nested too deeply"),
        ("name: " + "{a: " * 200_000, "not valid YAML: it is nested too deeply"),
        ("name: 2026-13-45\n", "not valid YAML: month"),
        ("seed: " + "1" * 5000, "not valid YAML"),
    ],
)
def test_a_file_that_is_no_experiment_is_refused_in_words(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        load(write(tmp_path, text))


def test_later_files_of_a_chain_win_over_those_that_they_extend_value_by_value(tmp_path: Path) -> None:
    write(tmp_path, "name: base\nseed: 1\nrecipe: {epochs: 10, batch: 8, optimiser: {lr: 0.5}}\n", "base.yaml")
    (tmp_path / "below").mkdir()
    write(tmp_path / "below", "extends: ../base.yaml\nname: middle\nrecipe: {batch: 4}\n", "middle.yaml")
    top = write(tmp_path / "below", "extends: middle.yaml\nrecipe: {optimiser: {momentum: 0.5}}\n", "top.yaml")
    described = load(top, ["recipe.epochs=3"])
    assert (described.name, described.seed) == ("middle", 1)
    recipe = described.recipe
    assert (recipe.epochs, recipe.batch, recipe.optimiser.lr, recipe.optimiser.momentum) == (3, 4, 0.5, 0.5)


def test_a_cycle_of_extends_is_refused_with_its_way(tmp_path: Path) -> None:
    one = write(tmp_path, "name: one\nextends: two.yaml\n", "one.yaml")
    write(tmp_path, "name: two\nextends: one.yaml\n", "two.yaml")
    with pytest.raises(UsageError, match=r"one\.yaml extends itself, by way of one\.yaml -> two\.yaml"):
        load(one)


def test_presets_are_expanded_and_the_recipes_is_also_that_of_the_augmentation() -> None:
    tiny = experiment(**{"recipe.preset": "tiny"})
    assert (tiny.recipe.optimiser.lr_final, tiny.recipe.loss.objectness) == (0.01, 1.0)
    assert (tiny.data.augment.preset, tiny.data.augment.mixup) == ("tiny", 0.05)
    none = experiment(**{"recipe.preset": "tiny", "data.augment.preset": "none"})
    assert (none.recipe.loss.objectness, none.data.augment.mosaic) == (1.0, 0.0)


def test_every_value_of_a_preset_can_be_overridden_and_leaves_its_neighbours(tmp_path: Path) -> None:
    text = "name: a-run\nrecipe: {preset: tiny, loss: {box: 0.25}}\ndata: {augment: {mixup: 0.5}}\n"
    described = load(write(tmp_path, text), ["recipe.optimiser.lr_final=0.75"])
    assert (described.recipe.loss.box, described.recipe.loss.objectness) == (0.25, 1.0)
    assert (described.data.augment.mixup, described.data.augment.translate) == (0.5, 0.1)
    assert (described.recipe.optimiser.lr_final, described.recipe.optimiser.lr) == (0.75, 0.01)


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("recipe.optimiser.lr=1e-3", "recipe.optimiser.lr", 0.001),
        ("recipe.optimiser.lr=+2E-2", "recipe.optimiser.lr", 0.02),
        ("recipe.optimiser.lr=1", "recipe.optimiser.lr", 1.0),
        ("recipe.batch=16", "recipe.batch", 16),
        ("model.scale={depth: 1.5, width: 1.25}", "model.scale.width", 1.25),
        ("model.activation=null", "model.activation", None),
        ("data.path=a=b", "data.path", "a=b"),
        ("tracking.uri='http://host:1'", "tracking.uri", "http://host:1"),
    ],
)
def test_overrides_are_read_as_yaml(tmp_path: Path, override: str, path: str, value: Any) -> None:
    assert load(write(tmp_path, "name: a-run\n"), [override]).flat()[path] == value


@pytest.mark.parametrize(
    "override", ["recipe.batch", "=3", "recipe.batch=[", f"recipe.batch={'[' * 200_000}", "recipe.batches=3"]
)
def test_an_override_that_can_not_be_read_is_refused(tmp_path: Path, override: str) -> None:
    with pytest.raises(UsageError):
        load(write(tmp_path, "name: a-run\n"), [override])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("recipe.optimiser.lr", 0.02),
        ("recipe.batch", 64),
        ("seed", 1),
        ("compute.precision", "fp32"),
        ("model.scale.depth", 1.5),
        ("assigner.top_k", 5),
        ("data.image_size", 320),
        ("data.augment.mixup", 0.0),
        ("compute.shards", 4),
        ("compute.workers", 4),  # each of which has images enough for a batch norm of its own
    ],
)
def test_the_digest_changes_with_what_changes_the_result(path: str, value: Any) -> None:
    assert experiment(**{path: value}).digest("data") != experiment().digest("data")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("name", "another"),
        ("data.path", "elsewhere"),
        ("tracking.uri", "http://host:1"),
        ("tracking.experiment", "group"),
        ("compute.shards", 1),
        ("compute.batch_norm", "synchronised"),
        ("compute.gpus_per_worker", 1),
        ("compute.loader_processes", 2),
    ],
)
def test_the_digest_does_not_change_with_names_places_and_resources(path: str, value: Any) -> None:
    assert experiment(**{path: value}).digest("data") == experiment().digest("data")


@pytest.mark.parametrize(
    ("compute", "batch_norm", "equal"),
    [
        ({"workers": 4}, "worker", {"shards": 4}),
        ({"workers": 8, "batch_norm": "worker"}, "worker", {"shards": 8}),
        ({"workers": 16}, "synchronised", {}),
        ({"workers": 4, "batch_norm": "synchronised"}, "synchronised", {}),
        ({"workers": {"min": 2, "max": 4}, "shards": 8}, "shard", {"shards": 8}),
        ({"workers": 8, "shards": 8}, "shard", {"shards": 8}),
    ],
)
def test_equal_work_has_the_digest_of_its_shards(
    compute: dict[str, Any], batch_norm: str, equal: dict[str, Any]
) -> None:
    """A batch of 128 images, however many workers have a part of it."""
    described = build({"name": "a-run", "compute": compute}, {}, "test")
    assert described.batch_norm == batch_norm
    assert described.digest("data") == build({"name": "a-run", "compute": equal}, {}, "test").digest("data")


def test_the_digest_covers_the_content_of_the_data() -> None:
    digest = experiment().digest("data")
    assert digest != experiment().digest("other data")
    assert len(digest) == 12
    assert int(digest, 16) >= 0


def test_a_validated_experiment_builds_itself_again() -> None:
    described = experiment(**{"recipe.preset": "tiny", "model.scale.depth": 1.5})
    assert build(described.model_dump(), {}, source="test") == described
    assert described.flat()["model.scale.depth"] == 1.5


def test_experiments_are_shipped() -> None:
    assert SHIPPED


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_a_shipped_experiment_loads_and_opens_with_the_command_that_runs_it(path: Path) -> None:
    assert load(path).name
    first = path.read_text().splitlines()[0].split()
    assert first[:2] == ["#", "yolab"]
    assert f"pipelines/experiments/{path.name}" in first
    changes = [word for word in first[4:] if "=" in word and not word.startswith("--")]
    load(path, changes)


def test_a_part_of_a_gpu_is_refused_with_the_reason():
    told = refusal({}, {"compute.gpus_per_worker": 0.5})
    assert "compute.gpus_per_worker can't be 0.5" in told
    assert "NCCL joins no workers that share a GPU" in told
