"""Evaluate and compare at the size of Belebele: 122 languages, 900 questions over 488 passages each, of made-up words.

    python benchmarks/many_languages.py RUN FOLDER

RUN is a run folder of `python train.py`: what is measured is counting, metrics and files, and the encoder is small.
"""

import json
import random
import resource
import shutil
import subprocess
import sys
from pathlib import Path

from hybrid_ir.evaluation.benchmarks.belebele import PASSAGES, QUESTIONS, VARIANTS

WORDS, LONG, ASKED = 4000, 60, 8  # of a language, of a passage, of a question


def write(folder: Path) -> None:
    """Every variant says the same in words of its own."""
    rng = random.Random(0)
    passages = [[rng.randrange(WORDS) for _ in range(LONG)] for _ in range(PASSAGES)]
    asked = [1 + (number < QUESTIONS - PASSAGES) for number in range(PASSAGES)]
    folder.mkdir(parents=True, exist_ok=True)
    for variant in VARIANTS:
        own = random.Random(variant)
        words = [
            "".join(own.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(own.randrange(3, 8)))
            for _ in range(WORDS)
        ]
        with open(folder / f"{variant}.jsonl", "w", encoding="utf-8") as file:
            for number, passage in enumerate(passages):
                for question in range(asked[number]):
                    chosen = random.Random(7 * number + question).sample(passage, ASKED)
                    file.write(
                        json.dumps(
                            {
                                "link": f"made-up/{number}",
                                "question_number": question + 1,
                                "flores_passage": " ".join(words[word] for word in passage),
                                "question": " ".join(words[word] for word in chosen) + "?",
                            }
                        )
                        + "\n"
                    )


def timed(*arguments: str) -> None:
    """Run a command of ours; its processor time, and the largest memory of any so far."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-c", "from hybrid_ir.cli.main import main; main()", *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        f"{arguments[0]:10s} {seconds:7.0f} s of one core   peak so far {after.ru_maxrss / 1024:,.0f} MB",
        flush=True,
    )


def main() -> None:
    run, folder = sys.argv[1], Path(sys.argv[2])
    write(folder / "belebele" / "data")
    result, other = folder / "out" / "belebele", folder / "other" / "belebele"
    timed(
        "evaluate",
        f"checkpoint={run}",
        "benchmark=[belebele]",
        f"benchmark.belebele.folder={folder / 'belebele'}",
        f"out={result.parent}",
    )
    shutil.copytree(result, other)  # as if it were another system
    card = json.loads((other / "evaluation_card.json").read_text())
    card["training"]["sampler"] = "x_y"
    (other / "evaluation_card.json").write_text(json.dumps(card))
    timed("compare", f"runs=[{result.parent},{other.parent}]", f"out={folder / 'compared'}")


if __name__ == "__main__":
    main()
