"""MtebTasks: which tasks of mteb, and which of their languages, subsets and splits, are run."""

import re
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any

import langcodes

from hybrid_ir.model.module_files import HUB_ID
from hybrid_ir.mteb_tasks.library import import_mteb
from hybrid_ir.types import parse_languages

if TYPE_CHECKING:
    from mteb.abstasks import AbsTask

EXAMPLE = "tasks=[BelebeleRetrieval,XQuADRetrieval]"
DOTTED_PATH = re.compile(r"\w+(\.\w+)+")  # of a class
SHOWN_NAMES = 20  # subsets or splits that a message lists


class MtebTasks:
    """Tasks that mteb evaluates itself: what `benchmark=[mteb]` of `hybrid-ir evaluate` stands for.

    Their queries and passages are loaded by mteb, from the hub or its cache: `HF_HOME`,
    `HF_ENDPOINT` and `HF_HUB_OFFLINE` say where the data is, as everywhere.

    Args:
        tasks: names of tasks of mteb, names of its benchmarks, which stand for all their tasks, or
            dotted paths of your own: of classes that inherit from mteb's `AbsTask`, or of functions
            without arguments that build a task, as `build_mteb_task` does.
        languages: only subsets with one of these languages, as `de`, `deu` or `deu-Latn`.
        subsets: only these subsets; for cross-lingual tasks they name pairs.
        splits: only these splits; None takes those that mteb measures.
        batch_size: texts that are encoded at once.
        model_name: of the model in mteb's results, see `MtebEncoder`.
        model_revision: of the model in mteb's results.

    Attributes:
        chosen: the tasks, as objects of mteb.

    Raises:
        ValueError: mteb is not installed, or there is no such task, language, subset or split. The
            message names everything that is wrong.
    """

    def __init__(
        self,
        tasks: str | Sequence[str],
        languages: str | Sequence[str] | None = None,
        subsets: str | Sequence[str] | None = None,
        splits: str | Sequence[str] | None = None,
        batch_size: int = 32,
        model_name: str | None = None,
        model_revision: str | None = None,
    ):
        import_mteb()
        problems = []
        if batch_size < 1:
            problems.append(f"batch_size={batch_size} must be at least 1")
        if model_name is not None and not HUB_ID.fullmatch(model_name):
            problems.append(f"model_name={model_name!r} must have the form owner/name")
        names = _list_names(tasks)
        if not names:
            problems.append(f"no tasks are named: give {EXAMPLE}")
        self.batch_size = batch_size
        self.model_name = model_name
        self.model_revision = model_revision
        self.chosen: list[AbsTask] = []
        for name in names:
            try:
                self.chosen += find_tasks(name)
            except ValueError as error:
                problems.append(str(error))
        problems += _select_subsets(self.chosen, parse_languages(languages), _list_names(subsets))
        problems += _select_splits(self.chosen, _list_names(splits))
        if problems:
            raise ValueError("mteb: " + "; ".join(problems))

    @property
    def names(self) -> list[str]:
        """The names of the tasks."""
        return [task.metadata.name for task in self.chosen]

    def __repr__(self) -> str:
        return f"MtebTasks({', '.join(self.names)})"


def find_tasks(name: str) -> list["AbsTask"]:
    """Returns the task of a name, the tasks of a benchmark of mteb, or a task of the user.

    Args:
        name: as `XQuADRetrieval`, `MTEB(Multilingual, v2)` or `my_module.MyTask`.

    Raises:
        ValueError: There is no such task. The message names close matches.
    """
    mteb = import_mteb()
    task = _look_up(mteb.get_task, name)
    if task is not None:
        return [task]
    if DOTTED_PATH.fullmatch(name):
        return [_import_task(name)]
    benchmark = _look_up(mteb.get_benchmark, name)
    if benchmark is not None:
        # Copies, since a choice of subsets is kept in a task, and mteb has each benchmark once.
        return [copy(task) for task in benchmark.tasks]
    known = list_task_names() + [benchmark.name for benchmark in mteb.get_benchmarks()]
    raise ValueError(
        f"mteb {mteb.__version__} has no task {name!r}{_ask_if_near(name, known)} (a task of your "
        "own is named by the dotted path of its class)"
    )


def list_task_names() -> list[str]:
    """Returns the names of all tasks of mteb, without building the tasks, which takes seconds."""
    import mteb.tasks
    from mteb.abstasks import AbsTask

    names = []
    for value in vars(mteb.tasks).values():
        if isinstance(value, type) and issubclass(value, AbsTask) and hasattr(value, "metadata"):
            names.append(value.metadata.name)
    return names


def _ask_if_near(name: str, known: Iterable[str]) -> str:
    """Returns a question that names close matches, or nothing."""
    near = get_close_matches(name, known, n=3)
    return f", did you mean {' or '.join(near)}?" if near else ""


def _look_up(get: Callable[[str], Any], name: str) -> Any:
    """Returns what mteb has under a name, None if it has nothing."""
    try:
        return get(name)
    except KeyError:
        return None


def _import_task(path: str) -> "AbsTask":
    """Builds a task of the user from the dotted path of its class, or of a function that builds it.

    Raises:
        ValueError: The path names neither of them.
    """
    from mteb.abstasks import AbsTask

    module_name, _, class_name = path.rpartition(".")
    try:
        module = import_module(module_name)
    except ImportError as error:
        question = _ask_if_near(path, list_task_names())
        raise ValueError(
            f"task {path!r} is no name of mteb{question}, and its module cannot be imported "
            f"({error})"
        ) from error
    build_task = getattr(module, class_name, None)
    if not callable(build_task):
        raise ValueError(f"task {path!r}: {module_name} has no class or function {class_name}")
    if isinstance(build_task, type) and not issubclass(build_task, AbsTask):
        raise ValueError(f"task {path!r} is no class that inherits from mteb's AbsTask")
    task = build_task()
    if not isinstance(task, AbsTask):
        raise ValueError(f"task {path!r} gives {task!r:.80}, which is no task of mteb")
    return task


def _list_names(names: str | Iterable[str] | None) -> list[str]:
    """Returns names as a list, each once; a single one may be a plain text."""
    if names is None:
        return []
    if isinstance(names, str):
        return [names]
    return list(dict.fromkeys(names))


def _select_subsets(
    tasks: Sequence["AbsTask"], languages: Sequence[str] | None, subsets: Sequence[str]
) -> list[str]:
    """Leaves tasks with chosen subsets only, and returns what is wrong with the choice."""
    if languages is None and not subsets:
        return []
    codes = None if languages is None else [_spell_for_mteb(code) for code in languages]
    problems = []
    known: set[str] = set()
    for task in tasks:
        names = list(task.metadata.hf_subsets_to_langscripts)
        known.update(names)
        # A task of a benchmark may have less than all its subsets already.
        chosen = [name for name in task.hf_subsets if name in subsets or not subsets]
        try:
            task.filter_languages(codes, hf_subsets=chosen)
        except ValueError:
            problems.append(
                f"{task.metadata.name} has no subset for languages={languages}, "
                f"subsets={list(subsets) or None}: its subsets are {_shorten(names)}"
            )
    problems += _describe_unknown("subsets", subsets, known)
    return problems


def _select_splits(tasks: Sequence["AbsTask"], splits: Sequence[str]) -> list[str]:
    """Leaves tasks with chosen splits only, and returns what is wrong with the choice."""
    if not splits:
        return []
    problems = []
    for task in tasks:
        known = list(task.metadata.eval_splits)
        chosen = [split for split in splits if split in known]
        if chosen:
            task.filter_eval_splits(chosen)
        else:
            problems.append(
                f"{task.metadata.name} has none of the splits {', '.join(splits)}, but "
                f"{_shorten(known)}"
            )
    return problems


def _describe_unknown(key: str, names: Sequence[str], known: Iterable[str]) -> list[str]:
    """Says which of the names no task has, with close matches."""
    known = set(known)
    problems = []
    for name in names:
        if name not in known:
            problems.append(f"{key}: no task has {name!r}{_ask_if_near(name, known)}")
    return problems


def _spell_for_mteb(code: str) -> str:
    """Returns a language code with three letters, as mteb has it."""
    if len(code) != 2:
        return code
    try:
        return langcodes.Language.get(code).to_alpha3()
    except LookupError:
        return code


def _shorten(names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN_NAMES])
    if len(names) > SHOWN_NAMES:
        shown += " ..."
    return shown
