"""`hybrid-ir doctor`: finds nothing where all is well, and what is wrong where something is."""

import json

import pytest
import torch

from hybrid_ir.cli.doctor import Runs, machine, main
from hybrid_ir.training.checkpoints import AtomicCheckpointIO
from tests.support.command_line import hybrid_ir


def test_all_is_well_here(place):
    out = place / "doctor.json"
    done = hybrid_ir(
        place, "doctor", "corpus.languages=[de,en]", "model.backbone.vocab_size=2000", f"out={out}"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())
    assert (
        len(found) == 8 and all(check["holds"] for check in found) and "does not" not in done.stdout
    )


def test_a_run_that_cannot_start_says_why(tmp_path):
    runs = Runs(["corpus.languages=[de,xx]"], 2)
    runs.place = tmp_path
    runs._run({"one": ["trainer=cpu"]})
    found = runs._finding("a check", ("one", "several"), runs._learnt, "a cure")
    assert found.holds is False and "xx" in found.measured and "see the message" in found.cure


@pytest.mark.parametrize("argument", ["processes=1", "processes=x", "trainer=ddp", "--help"])
def test_what_it_takes_is_said(argument):
    with pytest.raises(ValueError, match=r"\[processes=N, 2 or more\]"):
        main([argument])


def saved(
    runs: Runs, run: str, before: torch.Tensor, after: torch.Tensor, canary: str = "a"
) -> None:
    for name, weights in (("previous.ckpt", before), ("last.ckpt", after)):
        checkpoint = {
            "state_dict": {"w": weights},
            "global_step": 1,
            "tokenizer_canary": canary,
            "callbacks": {},
        }
        AtomicCheckpointIO().save_checkpoint(checkpoint, runs.place / run / "checkpoints" / name)


def test_a_factor_on_the_gradients_is_found(tmp_path):
    runs = Runs([], 2)
    runs.place = tmp_path
    start, gradient = torch.randn(2, 1000, generator=torch.Generator().manual_seed(0))
    saved(runs, "one", start, start - 0.01 * gradient)
    saved(runs, "same", start, start - 0.01 * gradient * (1 + 1e-5))
    saved(runs, "twice", start, start - 0.02 * gradient)
    saved(runs, "turned", start, start - 0.01 * gradient.flip(0), canary="b")
    assert (
        runs._learnt("one", "same")[0]
        and not runs._learnt("one", "twice")[0]
        and not runs._learnt("one", "turned")[0]
    )
    assert runs._resumed("one", "one")[0] and not runs._resumed("one", "same")[0]
    assert runs._canary("one", "same")[0] and not runs._canary("one", "turned")[0]
    for run, value in (("one", 0.5), ("same", 0.5), ("twice", 0.5000001)):
        (tmp_path / run / "metrics.json").write_text(
            json.dumps({"macro_over_settings": {"multi": {"map": value}}})
        )
    assert runs._measured("one", "same")[0] and not runs._measured("one", "twice")[0]


def test_the_machine_is_described():
    assert [finding.name for finding in machine()] == ["versions", "devices", "bf16"] and all(
        f.holds for f in machine()
    )
