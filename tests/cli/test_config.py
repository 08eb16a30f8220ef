"""One way from arguments to a config: what is read as it stands, and what was meant."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from hybrid_ir.cli.config import (
    parse_command_line,
    parse_list,
    parse_plain_text,
    sort_arguments,
)
from hybrid_ir.cli.help import list_all_options, print_train_help, read_visible_lines
from hybrid_ir.cli.main import COMMANDS
from hybrid_ir.cli.path_lists import parse_paths
from hybrid_ir.cli.train import run_sweep
from hybrid_ir.runs.conf import compose_config, find_shipped_file, list_options
from hybrid_ir.runs.suggestions import suggest
from tests.support.command_line import hybrid_ir, train

CONF = find_shipped_file("conf")


def read_evaluate(*arguments: str):
    return parse_command_line(
        "evaluate",
        arguments,
        benchmark_list="benchmark",
        benchmark_keys={"postprocess_on": "split"},
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", ["a"]),
        ("[a, b]", ["a", "b"]),
        ('"a,b"', ["a,b"]),
        ("['a,b', c d,\"e's\"]", ["a,b", "c d", "e's"]),
        ("[]", []),
        ("a,,b,", ["a", "b"]),
        ("x=y (1)/z", ["x=y (1)/z"]),
    ],
)
def test_paths_are_split_at_commas_outside_of_quotes(value, expected):
    assert parse_paths(value) == expected


def test_lists_and_texts_lose_brackets_and_quotes_alone():
    assert parse_list("[a, 'b']") == ["a", "b"]
    assert parse_plain_text("query: ") == "query: "
    assert parse_plain_text("'query: '") == "query: "
    assert parse_plain_text("null") is None


def test_a_path_list_may_be_given_in_parts():
    given = sort_arguments(["runs=a", "runs=[b,c]", "metric=map"])
    assert given.path_lists == {"runs": ["a", "b", "c"]}
    assert given.plain_texts == {"metric": "map"}


def test_texts_keep_the_signs_of_hydras_grammar():
    cfg = read_evaluate("checkpoint=a b=c, (d)", "query_prefix=query: ", "out=${x}")
    assert cfg.checkpoint == "a b=c, (d)"
    assert cfg.query_prefix == "query: "
    assert cfg.out == "${x}"


def test_every_chosen_benchmark_has_a_config_of_its_own():
    cfg = read_evaluate(
        "checkpoint=x", "benchmark=[xquad_r,mlqa_r]", "benchmark.xquad_r.queries=all"
    )
    assert list(cfg.benchmark) == ["xquad_r", "mlqa_r"]


def test_a_key_without_a_name_is_one_of_every_benchmark_that_has_it():
    cfg = read_evaluate(
        "checkpoint=x",
        "benchmark=[xquad_r,cldr_facts]",
        "benchmark.max_queries=50",
        "benchmark.candidates=paragraph",
        "benchmark.folder=a, b",
    )
    assert cfg.benchmark.xquad_r.max_queries == cfg.benchmark.cldr_facts.max_queries == 50
    assert cfg.benchmark.xquad_r.candidates == "paragraph"
    assert cfg.benchmark.xquad_r.folder == "a, b"


def test_the_folder_of_one_benchmark_wins_over_an_earlier_one_of_all():
    cfg = read_evaluate(
        "checkpoint=x",
        "benchmark=[xquad_r,mlqa_r]",
        "benchmark.folder=all",
        "benchmark.mlqa_r.folder=one",
    )
    assert cfg.benchmark.xquad_r.folder == "all"
    assert cfg.benchmark.mlqa_r.folder == "one"


def test_hydras_marks_of_new_keys_may_stand_before_a_key_of_a_benchmark():
    cfg = read_evaluate("benchmark=[xquad_r]", "++benchmark.max_queries=3", "checkpoint=x")
    assert cfg.benchmark.xquad_r.max_queries == 3


def test_keys_of_a_model_mean_the_same_as_in_training():
    cfg = read_evaluate("model=labse", "model.backbone=some folder", "model.pooling=cls")
    assert cfg.model == "labse"
    assert cfg.backbone == "some folder"
    assert cfg.pooling == "cls"


def test_a_benchmark_that_estimates_corrections_has_its_keys_under_split():
    cfg = read_evaluate("checkpoint=x", "benchmark=[xquad_r]", "postprocess_on=cldr_facts")
    assert list(cfg.split) == ["cldr_facts"]


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["checkpont=x"], "did you mean checkpoint"),
        (["benchmark=[xquadr]"], "did you mean xquad_r"),
        (["benchmark=[xquad_r]", "benchmark.max_querys=3"], "did you mean benchmark.max_queries"),
        (["benchmark=[xquad_r]", "benchmark.xquad_r.folders=3"], "did you mean .*folder"),
        (["benchmark=[xquad_r]", "postprocess_on=mlqa"], "did you mean mlqa_r"),
        (["--hlep"], "did you mean --help"),
        (["xquad_r"], "'xquad_r' has no value: write KEY=VALUE"),
        (["/"], "as in model=/; --help"),
        (["checkpoint"], "as in checkpoint=VALUE; --help"),
        (["--model", "/x"], "there is no option --model: write model=/x; --help"),
        (["--query-prefix=x"], "write query_prefix=x; --help"),
        (["--nonsense"], "there is no option --nonsense: keys are written KEY=VALUE"),
        (["place=x"], "place: this key is called model now"),
        (["track=wandb"], "track: this key is called logger now"),
        (["--config-dir", "nowhere"], "--config-dir=nowhere is no folder"),
    ],
)
def test_what_is_misspelt_or_renamed_gets_the_right_name(arguments, meant):
    with pytest.raises(ValueError, match=meant):
        read_evaluate(*arguments)


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("sampler.bach_size=8", "sampler.batch_size"),
        ("trainer.max_step=3", "trainer.max_steps"),
        ("modle=tiny", "model"),
        ("sampler=hybird", "hybrid"),
        ("benchmark@validation=cldr_fact", "cldr_facts"),
        ("seeed=1", "seed"),
        ("model.backbone.layer=1", "model.backbone.layers"),
    ],
)
def test_a_misspelt_override_of_train_gets_the_nearest_name(override, meant):
    with pytest.raises(ValueError, match=f"did you mean {re.escape(meant)}"):
        compose_config("train", [override])


def test_a_key_of_lightning_that_conf_does_not_name_gets_its_cure():
    with pytest.raises(ValueError, match=re.escape("+trainer.max_time=DD:HH:MM:SS adds it")):
        compose_config("train", ["trainer.max_time=00:01:00:00"])


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        (
            "bias",
            ["model=x", "languages=ar,en"],
            r"languages=ar,en: several are languages=\[ar,en\]$",
        ),
        ("clean", ["against=[xquad_r]", "seed=1, 2"], r"several are seed=\[1,2\]$"),
        ("bias", ["model=x", "threads=choice(1,2)"], "several values, and one is wanted$"),
        ("compare", ["/"], "as in out=FOLDER"),
        ("compare", ["--model", "/x"], "there is no option --model: keys are written KEY=VALUE"),
        ("compare", ["corpus=x"], "corpus: this command has no such key; --help"),
    ],
)
def test_what_a_command_does_not_take_gets_its_cure(command, arguments, message):
    with pytest.raises(ValueError, match=message):
        parse_command_line(command, arguments)


def test_a_comma_in_one_value_makes_no_list(monkeypatch):
    monkeypatch.delenv("NOT_THERE", raising=False)
    assert parse_command_line("bias", ["threads=${oc.env:NOT_THERE,2}"]).threads == "2"
    assert parse_command_line("bias", ["languages='a,b'"]).languages == "a,b"
    assert parse_command_line("bias", [r"languages=a\,b"]).languages == "a,b"


def test_nothing_is_suggested_for_what_is_like_nothing():
    assert suggest("zzzz", ["sampler", "model"]) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["slots=abc"], "slots=abc must be a whole number from 1"),
        (["slots=0"], "slots=0 must be a whole number from 1"),
        (["slots"], "'slots' has no value"),
        (["retry=all"], "retry=all must be failed"),
    ],
)
def test_a_sweep_is_refused_before_it_has_a_folder(arguments, message, capsys):
    with pytest.raises(SystemExit) as end:
        run_sweep(["sampler=hybrid", "folder=/nowhere", *arguments])
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_a_misspelt_key_is_refused_before_torch_is_loaded(tmp_path):
    code = (
        "import sys; from hybrid_ir.cli.main import main; sys.argv = ['hybrid-ir', 'evaluate', "
        "'chekpoint=x']\ntry:\n    main()\nexcept SystemExit as end:\n"
        "    print(end.code, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["2", "False"], done.stderr
    assert "did you mean checkpoint" in done.stderr


def test_train_refuses_a_misspelt_key_without_a_folder(tmp_path):
    done = train(tmp_path, "sampler.bach_size=8")
    assert done.returncode == 2
    assert "sampler.bach_size" in done.stderr and "did you mean sampler.batch_size" in done.stderr
    assert not (tmp_path / "outputs").exists()


def test_a_run_that_is_refused_leaves_no_folder(tmp_path):
    done = train(tmp_path, "sampler.batch_size=100000000", "hydra.run.dir=run")
    assert done.returncode == 2, done.stdout
    assert "batch_size=100000000 is larger than the data" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", [*COMMANDS, "clean", "identify"])
def test_help_has_a_comment_for_every_key(command, capsys):
    parse_command_line(command, ["--help"])
    require_comments(capsys.readouterr().out)


def test_help_of_train_has_every_group_and_a_comment_for_every_key(capsys):
    print_train_help()
    shown = capsys.readouterr().out
    require_comments(shown)
    for group in ("sampler", "model", "loss", "optimizer", "trainer", "callbacks", "benchmark"):
        assert f"# {group}=" in shown
        for option in list_all_options(CONF / group, "default" if group == "callbacks" else None):
            assert option in shown
    assert "sampler.batch_size: 64" in shown


@pytest.mark.parametrize("group", ["corpus", "benchmark", "trainer", "logger", "hydra/launcher"])
def test_every_option_has_a_comment_for_every_key(group):
    for path in (CONF / group).glob("*.yaml"):
        require_comments(read_visible_lines(path))


def require_comments(text: str) -> None:
    for line in text.splitlines():
        is_key = re.match(r"^\s*[a-z_.]+: \S", line)
        assert not is_key or "#" in line, line


def test_options_leave_out_what_is_no_choice():
    assert "default" not in list_options("sampler")
    assert "none" not in list_options("benchmark")


def test_the_version_is_said(tmp_path):
    done = hybrid_ir(tmp_path, "--version")
    assert re.fullmatch(r"hybrid-ir \d+\.\d+\.\d+\n", done.stdout)


@pytest.mark.parametrize("command", ["sweep", "doctor", "train"])
def test_commands_without_a_config_of_their_own_have_help(tmp_path, command):
    done = hybrid_ir(tmp_path, command, "--help")
    assert done.returncode == 0 and "KEY" in done.stdout
    require_comments(done.stdout)


def test_an_unknown_command_gets_the_nearest_one(tmp_path):
    done = hybrid_ir(tmp_path, "evalute")
    assert done.returncode == 2 and "did you mean evaluate" in done.stderr


def write_user_options(folder: Path) -> None:
    """A loss and a benchmark of a user's own, as a module and two YAML files."""
    (folder / "my_module.py").write_text(
        "import torch\n"
        "import torch.nn.functional as F\n"
        "from hybrid_ir import load_benchmark\n\n\n"
        "class MyLoss(torch.nn.Module):\n"
        "    def __init__(self, scale: float = 20.0):\n"
        "        super().__init__()\n"
        "        self.scale = scale\n\n"
        "    def forward(self, queries, passages, labels):\n"
        "        positives = labels.positives(len(queries))\n"
        "        return F.cross_entropy(self.scale * queries @ passages.T, positives)\n\n\n"
        "def my_benchmark(questions: int = 5):\n"
        "    return load_benchmark(\n"
        '        "cldr_facts_dev", languages=["en", "de"], max_queries=questions\n'
        "    )\n"
    )
    (folder / "my_conf" / "loss").mkdir(parents=True)
    (folder / "my_conf" / "benchmark").mkdir()
    (folder / "my_conf" / "loss" / "mine.yaml").write_text(
        "_target_: my_module.MyLoss\nscale: 15.0\n"
    )
    (folder / "my_conf" / "benchmark" / "mine.yaml").write_text(
        "_target_: my_module.my_benchmark\nquestions: 7\n"
    )


def test_a_loss_and_a_benchmark_of_ones_own_work_in_train_and_evaluate(tmp_path):
    write_user_options(tmp_path)
    done = train(
        tmp_path,
        "--config-dir",
        "my_conf",
        "debug=smoke",
        "loss=mine",
        "benchmark=mine",
        "trainer.max_steps=4",
        "validation.max_queries=5",
        "hydra.run.dir=run",
    )
    assert done.returncode == 0, done.stderr
    done = hybrid_ir(
        tmp_path,
        "evaluate",
        "--config-dir=my_conf",
        "checkpoint=run",
        "benchmark=[mine]",
        "benchmark.questions=3",
        "out=results",
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "results" / "mine" / "metrics.json").is_file()
