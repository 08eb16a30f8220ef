"""Evaluation and comparison at the size of Belebele, of made-up words.

    python benchmarks/many_languages.py RUN FOLDER

Belebele has 122 languages, with 900 questions over 488 passages each. RUN is a run folder of
`python train.py`: counting, metrics and files are measured, so the encoder is a small one.
"""

import argparse
import json
import random
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from hybrid_ir.evaluation.benchmarks.belebele import PASSAGES, QUESTIONS, VARIANTS

VOCABULARY = 4000  # words of a language
PASSAGE_LENGTH = 60  # words
QUESTION_LENGTH = 8  # words
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def write_benchmark(folder: Path) -> None:
    """Writes every language variant of Belebele: all say the same, each in its own words."""
    rng = random.Random(0)
    passages = []
    for _ in range(PASSAGES):
        passages.append([rng.randrange(VOCABULARY) for _ in range(PASSAGE_LENGTH)])
    folder.mkdir(parents=True, exist_ok=True)
    for variant in VARIANTS:
        words = make_words(variant)
        with open(folder / f"{variant}.jsonl", "w", encoding="utf-8") as file:
            for number, passage in enumerate(passages):
                # The first passages have two questions, so that there are QUESTIONS in all.
                question_count = 2 if number < QUESTIONS - PASSAGES else 1
                for question in range(question_count):
                    file.write(json.dumps(make_row(words, number, passage, question)) + "\n")


def make_words(variant: str) -> list[str]:
    """Makes up the words of a language."""
    rng = random.Random(variant)
    words = []
    for _ in range(VOCABULARY):
        letters = [rng.choice(LETTERS) for _ in range(rng.randrange(3, 8))]
        words.append("".join(letters))
    return words


def make_row(words: Sequence[str], number: int, passage: Sequence[int], question: int) -> dict:
    """Returns a question about a passage, in the format of Belebele."""
    chosen = random.Random(7 * number + question).sample(passage, QUESTION_LENGTH)
    return {
        "link": f"made-up/{number}",
        "question_number": question + 1,
        "flores_passage": " ".join(words[word] for word in passage),
        "question": " ".join(words[word] for word in chosen) + "?",
    }


def run_command(*arguments: str) -> None:
    """Runs a command of hybrid-ir, and prints its processor time and the largest memory so far."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    program = "from hybrid_ir.cli.main import main; main()"
    subprocess.run(
        [sys.executable, "-c", program, *arguments], check=True, stdout=subprocess.DEVNULL
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    megabytes = after.ru_maxrss / 1024
    print(
        f"{arguments[0]:10s} {seconds:7.0f} s of one core   peak so far {megabytes:,.0f} MB",
        flush=True,
    )


def copy_as_other_system(result: Path, copy: Path) -> None:
    """Copies the result of an evaluation, as if another system had been evaluated."""
    shutil.copytree(result, copy)
    path = copy / "evaluation_card.json"
    card = json.loads(path.read_text())
    card["training"]["sampler"] = "x_y"
    path.write_text(json.dumps(card))


def main() -> None:
    """Writes the benchmark, evaluates the run on it, and compares the result with a copy."""
    parser = argparse.ArgumentParser(description="Evaluation and comparison in 122 languages.")
    parser.add_argument("run", help="a run folder of train.py")
    parser.add_argument("folder", type=Path, help="where everything is written")
    parser.add_argument("--languages", nargs="*", help="variants of Belebele; all without it")
    options = parser.parse_args()
    folder = options.folder
    write_benchmark(folder / "belebele" / "data")
    result = folder / "out" / "belebele"
    copy = folder / "other" / "belebele"
    evaluation = [
        f"checkpoint={options.run}",
        "benchmark=[belebele]",
        f"benchmark.belebele.folder={folder / 'belebele'}",
        f"out={result.parent}",
    ]
    if options.languages:
        evaluation.append(f"benchmark.belebele.languages=[{','.join(options.languages)}]")
    run_command("evaluate", *evaluation)
    copy_as_other_system(result, copy)
    runs = f"runs=[{result.parent},{copy.parent}]"
    run_command("compare", runs, f"out={folder / 'compared'}")


if __name__ == "__main__":
    main()
