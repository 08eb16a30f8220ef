"""A trace of some steps is a file that Perfetto opens."""

import gzip
import json

import pytest

from hybrid_ir.training.step_trace import StepTrace


def test_a_trace_holds_the_steps_and_their_operations(build_training, tmp_path, capsys):
    trace = StepTrace(str(tmp_path / "profile"), first_step=3, steps=2)
    build_training(max_steps=6, accumulate_grad_batches=2, callbacks=[trace]).fit()
    path = tmp_path / "profile" / "trace.json.gz"
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    # The format of Chrome: a complete event (X) has its start and its duration in microseconds.
    complete = [event for event in events if event["ph"] == "X"]
    for event in complete:
        assert event["ts"] >= 0 and event["dur"] >= 0
        assert isinstance(event["name"], str)
        assert "pid" in event and "tid" in event
    for event in events:
        assert "ph" in event and "name" in event
    names = [event["name"] for event in complete]
    assert len([name for name in names if name.startswith("ProfilerStep#")]) == 2
    # Each step has two batches and one update of the weights.
    assert len([name for name in names if name.startswith("Optimizer.step")]) == 2
    assert "aten::addmm" in names
    assert sorted(file.name for file in path.parent.iterdir()) == ["trace.json.gz"]
    printed = capsys.readouterr().out
    assert "where the time of a step goes" in printed
    assert f"trace of steps 3 to 4: {path}; open https://ui.perfetto.dev" in printed


def test_a_training_that_ends_before_the_trace_is_refused(build_training, tmp_path):
    trace = StepTrace(str(tmp_path), first_step=3, steps=2)
    with pytest.raises(ValueError, match="records up to step 4 of this start, which has 3 steps"):
        build_training(max_steps=3, callbacks=[trace]).fit()


@pytest.mark.parametrize(("first_step", "steps"), [(1, 1), (2, 0)])
def test_a_trace_of_impossible_steps_is_refused(tmp_path, first_step, steps):
    with pytest.raises(ValueError, match=f"first_step={first_step} must be at least 2"):
        StepTrace(str(tmp_path), first_step, steps)
