"""The files that release this project: workflows, their actions, the changelog, the Dockerfile."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
# A commit of an action, and its version for people and for dependabot.
PINNED = re.compile(r"^[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")


def read_workflow(name: str) -> dict:
    return yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8"))


def load_changelog_section():
    path = ROOT / ".github" / "changelog_section.py"
    spec = importlib.util.spec_from_file_location("changelog_section", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def list_instructions(name: str) -> list[str]:
    """Returns what stands behind an instruction of the Dockerfile, continued lines as one."""
    joined = DOCKERFILE.replace("\\\n", " ")
    lines = [line for line in joined.splitlines() if line.startswith(f"{name} ")]
    return [" ".join(line.removeprefix(name).split()) for line in lines]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_to_a_commit(path):
    uses = re.findall(r"uses: (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert uses
    for action in uses:
        assert PINNED.match(action), action


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_nothing_may_write_unless_a_job_says_so(path):
    workflow = read_workflow(path.name)
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert "timeout-minutes" in job


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_pass_actionlint(path):
    actionlint = shutil.which("actionlint")
    if actionlint is None:
        pytest.skip("actionlint is not installed")
    checked = subprocess.run([actionlint, str(path)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_ci_runs_one_script_on_every_python_that_is_promised():
    job = read_workflow("ci.yml")["jobs"]["test"]
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    assert job["steps"][-1]["run"] == "bash .ci/run"
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_publishing_is_trusted_and_needs_no_secret():
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    publish = read_workflow("release.yml")["jobs"]["publish"]
    assert publish["permissions"] == {"id-token": "write"}
    assert publish["environment"]["name"] == "pypi"
    assert "secrets." not in text and "password" not in text


@pytest.mark.parametrize("heading", ["## 1.2.3", "## [1.2.3] - 2027-01-31", "## v1.2.3"])
def test_a_release_has_its_section_of_the_changelog(heading):
    find_section = load_changelog_section().find_section
    changelog = f"# Changelog\n\n## [Unreleased]\n\n{heading}\n\n- New.\n\n## 1.2.2\n\n- Old.\n"
    assert find_section(changelog, "1.2.3") == "- New."


@pytest.mark.parametrize(
    ("changelog", "message"),
    [
        ("## 1.2.30\n\n- New.\n", "has no section '## 1.2.3'"),
        ("## 1.2.3\n\n## 1.2.2\n\n- Old.\n", "is empty"),
    ],
)
def test_a_version_without_a_section_is_refused(changelog, message):
    with pytest.raises(ValueError, match=message):
        load_changelog_section().find_section(changelog, "1.2.3")


def test_hadolint_finds_nothing():
    hadolint = shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    checked = subprocess.run(
        [hadolint, str(ROOT / "Dockerfile")], capture_output=True, text=True, timeout=600
    )
    assert checked.returncode == 0, checked.stdout


def is_sent_to_docker(name: str) -> bool:
    """Returns whether .dockerignore lets a file or folder of the clone through."""
    is_sent = True
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.removeprefix("!")
        if line and not line.startswith("#") and fnmatch(name, pattern):
            is_sent = line.startswith("!")
    return is_sent


def list_copied() -> list[str]:
    """Returns the files and folders of the clone that the Dockerfile copies."""
    copied = []
    for instruction in list_instructions("COPY"):
        if not instruction.startswith("--from"):
            copied += instruction.split()[:-1]
    return copied


def test_what_docker_copies_is_there_and_sent():
    assert "constraints.txt" in list_copied()
    for name in list_copied():
        assert (ROOT / name).exists(), name
        assert is_sent_to_docker(name), name
    for name in ("outputs", ".git", "tests", "data", ".cache"):
        assert not is_sent_to_docker(name), name


def test_the_wheel_is_built_from_what_docker_copies(tmp_path):
    source = tmp_path / "src"
    source.mkdir()
    for name in list_copied():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, dirs_exist_ok=True)
        else:
            shutil.copy(ROOT / name, source / name)
    build = [line for line in list_instructions("RUN") if "-m build" in line]
    assert len(build) == 1
    command = build[0].replace("/wheels", str(tmp_path / "wheels"))
    command = command.replace("python ", f"{sys.executable} ")
    done = subprocess.run(["sh", "-c", command], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "wheels").glob("hybrid_ir-*.whl"))


def test_the_container_runs_the_default_command_as_no_root():
    assert list_instructions("ENTRYPOINT") == ['["hybrid-ir"]']
    assert list_instructions("CMD") == ['["train"]']
    assert list_instructions("USER") == ["1000"]
    assert list_instructions("VOLUME") == ["/app/outputs"]
    pins = [line for line in list_instructions("RUN") if "pip install" in line]
    assert all("constraints.txt" in line for line in pins)
