"""Results of an evaluation or comparison as a Weights & Biases run: tables and pictures."""

import csv
import json
from pathlib import Path

import wandb

from hybrid_ir.training.loggers import has_wandb_key


def log_results_to_wandb(folder: Path, name: str, project: str = "hybrid-ir") -> None:
    """Log every CSV file and JSON table as a table, every PNG as an image, and the macro means as a summary.

    Offline unless there is a key, as in training.
    """
    mode = None if has_wandb_key() else "offline"
    with wandb.init(project=project, name=name, dir=str(folder), mode=mode, job_type="evaluate", reinit="create_new") as run:
        if (folder / "metrics.json").is_file():
            found = json.loads((folder / "metrics.json").read_text())
            run.summary.update({f"{view}/{metric}": value for view, means in found["macro_over_settings"].items()
                                for metric, value in means.items() if value is not None})
            columns = list(found["settings"][0]) if found["settings"] else []
            run.log({"settings": wandb.Table(columns, [[row[column] for column in columns] for row in found["settings"]])})
        for path in sorted(folder.glob("*.csv")):
            with open(path, newline="", encoding="utf-8") as file:
                head, *rows = list(csv.reader(file)) or [[]]
            run.log({path.stem: wandb.Table(head, rows)})
        for path in sorted(folder.rglob("*.png")):
            if "wandb" not in path.relative_to(folder).parts:
                run.log({path.stem: wandb.Image(str(path))})
