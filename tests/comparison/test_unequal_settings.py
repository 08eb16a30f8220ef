"""What else differs between trainings that are compared is said, and only then."""

from hybrid_ir.comparison.load import load_results
from hybrid_ir.comparison.systems import group_into_systems
from hybrid_ir.comparison.unequal_settings import describe_unequal_settings
from tests.comparison.test_systems import build_settings
from tests.support.comparison_results import build_training


def describe(place) -> list[str]:
    return describe_unequal_settings(group_into_systems(load_results([place]))[0])


def write_training(write, sampler: str, **keys) -> None:
    share = {"x_x_mono": 1.0, "hybrid": 0.5, "x_y": 0.0}[sampler]
    settings = build_settings(share, **keys)
    write(sampler, build_training(sampler, monolingual_share=share, settings=settings))


def test_plans_of_batches_are_no_difference_of_settings(write, tmp_path):
    for sampler in ("x_x_mono", "hybrid", "x_y"):
        write_training(write, sampler)
    write("raw", None)
    assert describe(tmp_path) == []


def test_settings_that_differ_are_named_with_their_systems(write, tmp_path):
    write_training(write, "x_x_mono", **{"trainer.max_steps": 100, "scheduler.max_steps": 100})
    for sampler in ("hybrid", "x_y"):
        write_training(write, sampler, **{"trainer.max_steps": 1200, "scheduler.max_steps": 1200})
    (note,) = describe(tmp_path)
    assert note.count("max_steps") == 1
    assert "max_steps is 100 (x_x_mono / e5_small) or 1200 (" in note
    assert "hybrid / e5_small" in note.partition("1200")[2]


def test_a_setting_of_one_training_alone_is_unknown_of_the_other(write, tmp_path):
    write_training(write, "x_x_mono")
    write_training(write, "hybrid", **{"loss.temperature": 0.05})
    (note,) = describe(tmp_path)
    assert "loss.temperature is unknown (x_x_mono / e5_small) or 0.05 (hybrid / e5_small)" in note


def test_what_stands_on_labels_is_not_said_again(write, tmp_path):
    for rate in (0.1, 0.2):
        settings = build_settings(0.5, **{"optimizer.lr": rate})
        write(f"h{rate}", build_training("hybrid", monolingual_share=0.5, settings=settings))
    assert describe(tmp_path) == []


def test_many_settings_are_counted(write, tmp_path):
    write_training(write, "x_x_mono", **{f"loss.key{number}": 1 for number in range(8)})
    write_training(write, "hybrid", **{f"loss.key{number}": 2 for number in range(8)})
    (note,) = describe(tmp_path)
    assert note.endswith("; 3 more")
