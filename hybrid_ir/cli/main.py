"""`hybrid-ir COMMAND ...`: finds the command and hands over."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module

import hybrid_ir
from hybrid_ir.cli import train
from hybrid_ir.cli.help import print_command_help, print_train_help, wants_help
from hybrid_ir.system.interruption import end_where_nobody_reads

USAGE = """hybrid-ir: multilingual dense retrieval with batches planned by language

  hybrid-ir train [KEY=VALUE ...]                        the same as `python train.py`
  hybrid-ir sweep KEY=A,B ... [slots=N] [retry=failed]   every combination, each in a process
  hybrid-ir doctor [KEY=VALUE ...] [processes=N]         does this machine train what it should
  hybrid-ir bias model=MODEL [corpus=FOLDER]             is this retriever biased by language
  hybrid-ir study to=FOLDER [only=[NAME,...]]            many encoders, one table of their bias
  hybrid-ir evaluate checkpoint=RUN benchmark=[xquad_r]  measure a run, or model=NAME: any encoder
  hybrid-ir export checkpoint=RUN to=FOLDER              files that other libraries load
  hybrid-ir compare runs=[RUN,SWEEP,...]                 tables, significance, one HTML report
  hybrid-ir latency checkpoints=[A,B] benchmark=xquad_r  latency per query, by stage and language
  hybrid-ir data describe NAME [KEY=VALUE ...]           what a data set holds
  hybrid-ir data fetch|verify NAME [mirror=URL]          get its files once, and check them
  hybrid-ir data import FORM path=FILES to=FOLDER        your own pairs, every line checked
  hybrid-ir data clean corpus=NAME against=[BENCHMARK] to=FOLDER
                                                         a corpus without what benchmarks have
  hybrid-ir data identify path=TEXTS to=NEW              a language for texts that name none
  hybrid-ir mine checkpoint=RUN corpus=NAME to=FOLDER    hard negatives found by an encoder
  hybrid-ir translate corpus=NAME model=NLLB to=FOLDER   make a corpus parallel by translation
  hybrid-ir debias model=MODEL to=FOLDER                 less language bias without training
  hybrid-ir index checkpoint=RUN benchmark=NAME to=FOLDER
                                                         passages as vectors on disk, to search
  hybrid-ir search index=FOLDER ["QUESTION" ...]         the best passages of an index
  hybrid-ir serve model=[A,B] benchmark=NAME             a page to ask questions, or index=FOLDER
  hybrid-ir completion bash|zsh|fish                     a script: Tab completes all of these

  hybrid-ir COMMAND --help lists the keys of a command, hybrid-ir --version says which this is.
"""
TRAINING = {"train": train.run_training, "sweep": train.run_sweep}
# Commands that read their arguments themselves.
OWN_ARGUMENTS = ("data", "doctor")


@dataclass(frozen=True)
class Command:
    """A command whose config is conf/NAME.yaml, and what `parse_command_line` needs for it."""

    benchmark_list: str | None = None
    benchmark_keys: dict[str, str] = field(default_factory=dict)
    text_list: str | None = None
    plain_keys: tuple[str, ...] = ()
    options: dict[str, str] = field(default_factory=dict)


COMMANDS = {
    "bias": Command(
        benchmark_keys={"corpus": "split"},
        plain_keys=("corpus", "fail_if"),
        options={"--fail-if": "fail_if"},
    ),
    "compare": Command(benchmark_list="benchmark"),
    "debias": Command(benchmark_keys={"on": "split"}),
    "evaluate": Command(benchmark_list="benchmark", benchmark_keys={"postprocess_on": "split"}),
    "export": Command(),
    "index": Command(),
    "latency": Command(),
    "mine": Command(),
    "search": Command(text_list="questions"),
    "serve": Command(benchmark_keys={"corpus": "split"}, plain_keys=("corpus",)),
    "study": Command(),
    "translate": Command(),
}


def run_command(name: str, arguments: Sequence[str]) -> None:
    """Runs a command with its arguments.

    The config is composed before the code of the command is imported, so that a misspelt key is
    refused before torch is loaded.
    """
    module = f"hybrid_ir.cli.{name}"
    if name in OWN_ARGUMENTS:
        import_module(module).main(arguments)
        return
    from hybrid_ir.cli.config import parse_command_line

    command = COMMANDS[name]
    cfg = parse_command_line(
        name,
        arguments,
        command.benchmark_list,
        command.benchmark_keys,
        command.text_list,
        command.plain_keys,
        command.options,
    )
    if cfg is not None:
        # Not to stdout, where the answer of a command may be read by another program.
        print(f"hybrid-ir {name}: loading libraries", file=sys.stderr)
        import_module(module).run(cfg)


def print_help(name: str) -> None:
    """Prints what a command takes, without loading what composes or runs it."""
    with end_where_nobody_reads():
        if name == "train":
            print_train_help()
        else:
            print_command_help(name)


def run_clearly(name: str, arguments: Sequence[str]) -> None:
    """Runs a command, and turns its errors into messages and exit codes."""
    from hybrid_ir.runs.errors import report_errors_clearly
    from hybrid_ir.system.environment import prepare_libraries
    from hybrid_ir.system.progress import watch_progress

    prepare_libraries()
    train.make_user_modules_importable()
    with report_errors_clearly(), watch_progress(f"hybrid-ir {name}"):
        run_command(name, arguments)


def complete_words(arguments: Sequence[str]) -> None:
    """Prints what a shell needs to complete a command line."""
    from hybrid_ir.cli import completion

    commands = {**dict.fromkeys([*TRAINING, *OWN_ARGUMENTS, "completion"]), **COMMANDS}
    with end_where_nobody_reads():
        completion.main(arguments, commands)


def refuse_unknown_command(name: str) -> None:
    """Says that there is no such command and which may have been meant, and ends the program."""
    from hybrid_ir.runs.suggestions import ask_if_meant

    hint = ask_if_meant(name, [*TRAINING, *COMMANDS, *OWN_ARGUMENTS, "completion"])
    print(f"error: hybrid-ir has no command {name!r}{hint}\n\n{USAGE}", end="", file=sys.stderr)
    sys.exit(2)


def main() -> None:
    """Runs the command that the arguments of this process name.

    What a branch needs is imported in it, so that help and versions are there at once.
    """
    command = sys.argv[1] if len(sys.argv) > 1 else "--help"
    arguments = sys.argv[2:]
    if command in ("-h", "--help"):
        print(USAGE, end="")
    elif command in ("-V", "--version"):
        print(f"hybrid-ir {hybrid_ir.__version__}")
    elif wants_help(arguments) and (command in COMMANDS or command == "train"):
        print_help(command)
    elif command == "completion":
        complete_words(arguments)
    elif command in TRAINING:
        TRAINING[command](arguments)
    elif command in COMMANDS or command in OWN_ARGUMENTS:
        run_clearly(command, arguments)
    else:
        refuse_unknown_command(command)
