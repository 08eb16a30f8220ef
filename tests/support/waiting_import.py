"""A command whose import waits to be killed or asked to stop, however fast the machine is.

    python -m tests.support.waiting_import MOMENT PROGRAM ARGUMENTS

MOMENT is `saved` (the import has saved how far it is) or `pairs written` (its columns of texts are
complete); PROGRAM is train.py or hybrid-ir. The file `waiting` in the working directory says that
the import has come there.
"""

import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path

from hybrid_ir.cli.main import main
from hybrid_ir.corpora import import_journal
from hybrid_ir.corpora.import_journal import ImportJournal
from hybrid_ir.corpora.writing import CorpusWriter
from tests.support.command_line import HANG_SECONDS, ROOT

WAITING_FILE = "waiting"


def wait_to_be_stopped() -> None:
    Path(WAITING_FILE).touch()
    time.sleep(HANG_SECONDS)


def wait_after_saving() -> None:
    """Lets the first saved state be the last thing that an import does."""
    save = ImportJournal.save

    def save_and_wait(journal: ImportJournal, get_state: Callable) -> None:
        save(journal, get_state)
        wait_to_be_stopped()

    import_journal.SAVE_INTERVAL = 0
    ImportJournal.save = save_and_wait


def wait_after_pairs() -> None:
    """Lets the pairs be the last thing that an import writes."""
    save_array = CorpusWriter._save_array

    def save_and_wait(writer: CorpusWriter, name: str, values) -> None:
        save_array(writer, name, values)
        if name == "pairs":
            wait_to_be_stopped()

    import_journal.SAVE_INTERVAL = 0
    CorpusWriter._save_array = save_and_wait


if __name__ == "__main__":
    _, moment, program, *arguments = sys.argv
    if moment == "saved":
        wait_after_saving()
    if moment == "pairs written":
        wait_after_pairs()
    sys.argv = [program, *arguments]
    if program == "train.py":
        sys.argv[0] = str(ROOT / program)
        runpy.run_path(sys.argv[0], run_name="__main__")
    else:
        main()
