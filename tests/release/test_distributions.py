"""What is uploaded to PyPI: its contents, and the commands of the README without a clone."""

import json
import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import hybrid_ir
from hybrid_ir.cli.main import COMMANDS
from tests.support.command_line import HANG_SECONDS, ROOT
from tests.support.readme import MAIN_RUN, choose_first_values, read_commands, shorten_command

README = ROOT / "README.md"
VERSION = hybrid_ir.__version__
LARGEST_FILE = 2**20  # bytes
# Files that no user needs, or that belong to one machine.
UNWANTED = re.compile(
    r"^(tests|outputs|data|benchmarks|docs|\.\w+|conf/local)/"
    r"|/__pycache__/|\.(ckpt|safetensors|pt|parquet|pyc)$"
)
MACHINE_PATH = re.compile(rb"/(?:work|tmp|home|root|Users)/\w+")
# Runs commands one after another in one process, and writes how they end.
DRIVER = """
import contextlib, io, json, os, sys, traceback
from hybrid_ir.cli import main as command_line
from hybrid_ir.runs import identity
load = command_line.import_module

class OnlyArguments:
    @staticmethod
    def run(cfg):
        print("arguments are right")

results = []
for task in json.loads(sys.stdin.read()):
    identity.choose_run_folder.cache_clear()
    sys.argv = ["hybrid-ir", *task["words"]]
    checks = task["only_arguments"] and task["words"][0] in command_line.COMMANDS
    command_line.import_module = (lambda name: OnlyArguments) if checks else load
    code = 0
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            if task["code"] is None:
                command_line.main()
            else:
                exec(compile(task["code"], "README.md", "exec"), {})
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            code = 1
            traceback.print_exc()
    results.append({"code": code, "printed": printed.getvalue()})
with open("results.json", "w") as file:
    json.dump({"module": command_line.__file__, "results": results}, file)
"""


@pytest.fixture(scope="module")
def distributions(tmp_path_factory) -> tuple[Path, Path]:
    """The wheel and the sdist, built as for a release."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "-o", str(folder), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=HANG_SECONDS)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder / f"hybrid_ir-{VERSION}-py3-none-any.whl", folder / f"hybrid_ir-{VERSION}.tar.gz"


@pytest.fixture(scope="module")
def wheel_files(distributions) -> dict[str, bytes]:
    with zipfile.ZipFile(distributions[0]) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def sdist_files(distributions) -> dict[str, bytes]:
    files = {}
    with tarfile.open(distributions[1]) as archive:
        for member in archive.getmembers():
            if member.isfile():
                name = member.name.partition("/")[2]
                files[name] = archive.extractfile(member).read()
    return files


@pytest.fixture(scope="module")
def fresh(distributions, tmp_path_factory) -> Path:
    """A virtual environment that has the wheel, and borrows the libraries of this one."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps"]
    command += ["--no-index", "-q", str(distributions[0])]
    installed = subprocess.run(command, capture_output=True, text=True)
    assert installed.returncode == 0, installed.stderr
    # Found behind its own; the .pth files there, such as that of a clone, are not read.
    borrowed = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    packages = next(folder.glob("lib/python*/site-packages"))
    (packages / "borrowed.pth").write_text("\n".join(borrowed) + "\n")
    return folder


def start_fresh(fresh: Path, place: Path, *command: str, text: str = "") -> str:
    """Runs a program of the fresh environment in a folder, and returns what it prints."""
    kept = {key: os.environ[key] for key in ("LANG", "LC_ALL", "TERM") if key in os.environ}
    variables = {
        **kept,
        "PATH": f"{fresh / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin",
        "HOME": str(place),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "150",
        "MPLBACKEND": "agg",
    }
    ended = subprocess.run(
        [str(fresh / "bin" / command[0]), *command[1:]],
        cwd=place,
        env=variables,
        input=text,
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_what_is_uploaded_passes_twine(distributions):
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, distributions)]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_neither_has_what_no_user_needs(wheel_files, sdist_files):
    for name, content in [*wheel_files.items(), *sdist_files.items()]:
        assert not UNWANTED.search(name), name
        assert len(content) < LARGEST_FILE, name
        assert not MACHINE_PATH.search(content), f"{name}: {MACHINE_PATH.findall(content)}"


def test_all_that_the_package_reads_is_in_the_wheel(wheel_files):
    for folder in ("hybrid_ir", "hydra_plugins", "conf"):
        for path in (ROOT / folder).rglob("*"):
            name = path.relative_to(ROOT).as_posix()
            if path.is_dir() or "__pycache__" in name or name.startswith("conf/local/"):
                continue
            inside = f"hybrid_ir/{name}" if folder == "conf" else name
            assert wheel_files.get(inside) == path.read_bytes(), name
    assert wheel_files["hybrid_ir/script/train.py"] == (ROOT / "train.py").read_bytes()
    kinds = {Path(name).suffix for name in wheel_files}
    assert {".css", ".jinja", ".json", ".py", ".yaml"} <= kinds


def test_the_licence_and_the_readme_travel_along(wheel_files, sdist_files):
    information = f"hybrid_ir-{VERSION}.dist-info"
    metadata = wheel_files[f"{information}/METADATA"].decode()
    assert f"\nVersion: {VERSION}\n" in metadata
    assert README.read_text(encoding="utf-8").strip() in metadata
    licence = (ROOT / "LICENSE").read_bytes()
    assert wheel_files[f"{information}/licenses/LICENSE"] == licence
    assert sdist_files["LICENSE"] == licence
    assert sdist_files["constraints.txt"] == (ROOT / "constraints.txt").read_bytes()


def test_the_installed_program_says_its_version(fresh, tmp_path):
    assert start_fresh(fresh, tmp_path, "hybrid-ir", "--version") == f"hybrid-ir {VERSION}\n"
    code = "import hybrid_ir; print(hybrid_ir.__version__, hybrid_ir.__file__)"
    printed = start_fresh(fresh, tmp_path, "python", "-c", code)
    version, _, file = printed.strip().partition(" ")
    assert version == VERSION
    assert file.startswith(str(fresh))


def test_processes_that_start_processes_work_without_a_clone(fresh, tmp_path):
    """Jobs of a sweep, each of two processes, all of which find the installed train.py."""
    command = ["hybrid-ir", "sweep", "sampler=x_x_mono,hybrid", "trainer=ddp_cpu", "slots=2"]
    command += ["trainer.devices=2", "trainer.max_steps=2", "sampler.batch_size=8", "threads=1"]
    command += ["corpus.languages=[en,de]", "benchmark=none", "benchmark@validation=none"]
    command.append("folder=swept")
    start_fresh(fresh, tmp_path, *command)
    jobs = json.loads((tmp_path / "swept" / "jobs.json").read_text())
    assert [job["state"] for job in jobs] == ["done", "done"]


def list_tasks() -> list[dict]:
    """Returns what the README needs to be there, and then its commands, in their order."""
    small = ["benchmark.languages=[en,de]", "benchmark.max_queries=5"]
    main_job = ["train", "debug=smoke", "corpus.languages=[en,de]", *small]
    main_job.append(f"hydra.run.dir={MAIN_RUN}")
    index = ["index", f"checkpoint={MAIN_RUN}", "benchmark=cldr_facts_dev", *small]
    export = ["export", f"checkpoint={MAIN_RUN}", "to=my_model", "max_questions=2"]
    tasks = []
    for words in (main_job, [*index, "to=made_index"], [*export, "benchmark=cldr_facts_dev"]):
        tasks.append({"line": " ".join(words), "words": words, "only_arguments": False})
    ran = set()
    for number, command in enumerate(read_commands(README)):
        words = list(command.words)
        name = words[0]
        # Once is enough for a command that takes a second and more.
        is_run = command.needs is None and name not in ran
        if name == "train":
            # One training is enough; of the others the config is composed.
            words = [*choose_first_values(words), "--cfg", "job"]
        elif name != "python" and command.needs is None:
            words = shorten_command(command.words, number)
        if is_run and name in COMMANDS:
            ran.add(name)
        tasks.append({"line": command.line, "words": words, "only_arguments": not is_run})
    for task in tasks:
        words = task["words"]
        task["code"] = words[2] if words[:2] == ["python", "-c"] else None
    return tasks


def is_left_out(task: dict) -> bool:
    """Returns whether nothing of a command can be checked here: it reads arguments itself."""
    is_own = task["words"][0] in ("data", "doctor", "sweep")
    return is_own and task["only_arguments"]


def test_the_commands_of_the_readme_work_without_a_clone(fresh, tmp_path):
    tasks = [task for task in list_tasks() if not is_left_out(task)]
    start_fresh(fresh, tmp_path, "python", "-c", DRIVER, text=json.dumps(tasks))
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["module"].startswith(str(fresh))
    problems = []
    for task, result in zip(tasks, written["results"], strict=True):
        if result["code"] != 0:
            problems.append(f"{task['line']}\n  {task['words']}\n{result['printed'][-2000:]}")
    assert not problems, "\n\n".join(problems)
