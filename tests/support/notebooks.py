"""The notebooks of examples/: executed with small settings by a test, or anew as they are shown.

    python -m tests.support.notebooks FOLDER [NAME ...]

executes them in a folder, whose files they find, and writes them back with their outputs.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from tests.support.command_line import HANG_SECONDS, ROOT, environment

# What a bar that has ended leaves behind.
BAR = {"text/html", "text/plain"}
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def execute_notebook(
    path: Path, folder: Path, parameters: Mapping[str, Any], variables: Mapping[str, str]
) -> nbformat.NotebookNode:
    """Executes a notebook in a folder, in a kernel of its own, and returns it with its outputs.

    Args:
        path: of the notebook.
        folder: in which its kernel runs.
        parameters: values that are set behind those of its cell `parameters`.
        variables: of the environment of the kernel.
    """
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            lines = [cell.source]
            for name, value in parameters.items():
                assert f"{name} = " in cell.source, f"{path.name} has no parameter {name}"
                lines.append(f"{name} = {value!r}")
            cell.source = "\n".join(lines)
    client = NotebookClient(
        notebook,
        timeout=HANG_SECONDS * 3,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env={**os.environ, **variables})
    return notebook


def tidy_outputs(notebook: nbformat.NotebookNode) -> None:
    """Leaves out of a notebook what belongs to one machine: warnings, bars and counts of runs."""
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        kept = []
        for output in cell.outputs:
            is_stream = output.output_type == "stream"
            # Rich warns on stdout where it has no ipywidgets to draw a bar with.
            is_warning = is_stream and (output.name == "stderr" or "ipywidgets" in output.text)
            is_blank = is_stream and not output.text.strip()
            is_empty_bar = output.output_type == "display_data" and set(output.data) == BAR
            if not (is_warning or is_blank or is_empty_bar):
                kept.append(output)
        cell.outputs = kept
    notebook.metadata = {
        "kernelspec": notebook.metadata.kernelspec,
        "language_info": {"name": "python"},
    }


def main() -> None:
    """Executes notebooks with the parameters that they show, and writes them back."""
    folder = Path(sys.argv[1])
    for path in NOTEBOOKS:
        if path.stem in sys.argv[2:] or len(sys.argv) == 2:
            place = folder / path.stem
            place.mkdir(parents=True, exist_ok=True)
            notebook = execute_notebook(path, place, {}, environment(folder))
            tidy_outputs(notebook)
            nbformat.write(notebook, path)
            print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
