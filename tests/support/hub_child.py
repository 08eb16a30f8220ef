"""Loads data sets of a hub on loopback in another process, as a user does.

The libraries of Hugging Face read the address of the hub, and whether there is a network, when they
are imported. A process loads many data sets, since it takes seconds to start.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.runs.data_sets import load_benchmark, load_corpus
from tests.support.corpora import list_pairs

Request = tuple[str, Mapping[str, Any]]  # corpus or benchmark, and keys of conf/GROUP/hub.yaml


def load_from_hub(
    hub_url: str, home: Path, requests: Sequence[Request], offline: bool = False, token: str = ""
) -> list[dict[str, Any]]:
    """Loads data sets in another process.

    Args:
        hub_url: the address of the hub.
        home: the folder of the library's cache.
        requests: what to load.
        offline: whether HF_HUB_OFFLINE is set.
        token: of a user.

    Returns:
        For each request what `describe_data` says, or its "error".
    """
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub_url,
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "1" if offline else "0",
        "HF_TOKEN": token,
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.hub_child"],
        input=json.dumps(requests),
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def load_or_explain(group: str, keys: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a data set holds, or the error that refuses it."""
    try:
        if group == "corpus":
            return describe_data(load_corpus("hub", **keys))
        return describe_data(load_benchmark("hub", **keys))
    except (ValueError, OSError) as error:
        return {"error": str(error)}


def describe_data(data: Any) -> dict[str, Any]:
    """Returns everything that makes a corpus or benchmark."""
    card = {"revision": data.source.revision, "choices": data.source.choices}
    card["licence"] = data.source.licence
    card["name"] = data.source.name
    if isinstance(data, ParallelCorpus):
        return {"pairs": list_pairs(data), "languages": data.languages, "card": card}
    relevant = {}
    for query, rows in zip(data.queries, data.relevant, strict=True):
        relevant[query] = [data.passages[row] for row in rows]
    return {
        "relevant": relevant,
        "passages": list(data.passages),
        "languages": data.languages,
        "grades": data.grades and [grades.tolist() for grades in data.grades],
        "card": card,
    }


if __name__ == "__main__":
    answers = [load_or_explain(group, keys) for group, keys in json.load(sys.stdin)]
    print(json.dumps(answers))
