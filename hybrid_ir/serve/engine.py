"""What answers questions: one or two models, each with an index of the same passages."""

import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from functools import cached_property
from threading import Event, Thread

import numpy as np

import hybrid_ir
from hybrid_ir.index.opened import Hit, PassageIndex
from hybrid_ir.pages import name_language
from hybrid_ir.serve.answer_places import find_exact_places
from hybrid_ir.serve.heat_map import load_or_compute_cells
from hybrid_ir.serve.known_questions import KnownQuestions
from hybrid_ir.serve.loading import StoppedError
from hybrid_ir.serve.question_encoder import EncodedQuestion, QuestionEncoder
from hybrid_ir.serve.schema import (
    MOST_HITS,
    About,
    AnswerPlace,
    HeatMapAnswer,
    HeatMapOfModel,
    KnownAnswer,
    ListedPassage,
    ModelDescription,
    ModelRanking,
    SearchAnswer,
    SearchRequest,
    SuggestedQuestion,
)
from hybrid_ir.types import Benchmark

SUGGESTIONS = 12  # so that each language of XQuAD-R has one before something is typed


class ServedModel:
    """A model with its index.

    Args:
        label: what the page calls it.
        index: of the passages.
    """

    def __init__(self, label: str, index: PassageIndex):
        self.label = label
        self.index = index
        self.encoder = QuestionEncoder(index.encoder)

    @cached_property
    def row_of_id(self) -> dict[str, int]:
        """The row of each passage by its id."""
        ids = self.index.passages.ids
        return {ids[row]: row for row in range(len(ids))}

    def mark_allowed(self, languages: Sequence[str] | None) -> np.ndarray | None:
        """Returns which passages are in some languages (N); None for all."""
        if languages is None:
            return None
        codes = [self.index.languages.index(language) for language in languages]
        return np.isin(self.index.passages.codes_N, codes)


class Engine:
    """Answers questions; any number of threads may ask at once.

    Args:
        models: one or two, with indexes of the same passages.
        benchmark: whose passages these are, in its order; None where nobody knows the answers.
        default_hits: how many passages the page lists at first.
        most_characters: of a question.
        name: what the user calls the passages; None for the name on the index.
    """

    def __init__(
        self,
        models: Sequence[ServedModel],
        benchmark: Benchmark | None,
        default_hits: int,
        most_characters: int,
        name: str | None = None,
    ):
        self.models = list(models)
        self.benchmark = benchmark
        self.default_hits = default_hits
        self.most_characters = most_characters
        self.name = name or self.models[0].index.card["source"]["name"]
        self.questions = None if benchmark is None else KnownQuestions(benchmark)
        self.passages_of_language = self._count_passages()
        self._heat_map = HeatMapAnswer(status="none")
        self._stopping = Event()
        self._heat_map_thread: Thread | None = None
        if len(self.models) > 1:
            for model in self.models:
                _ = model.row_of_id  # before the first question
        if benchmark is not None:
            self._heat_map = HeatMapAnswer(status="computing")
            self._heat_map_thread = Thread(
                target=self._compute_heat_map, name="heat map", daemon=True
            )
            self._heat_map_thread.start()

    @property
    def is_computing(self) -> bool:
        """Whether something is computed in the background."""
        return self._heat_map_thread is not None and self._heat_map_thread.is_alive()

    def stop(self, seconds: float) -> bool:
        """Ends what is computed in the background, after the texts that are being encoded.

        Args:
            seconds: how long to wait for it at most.

        Returns:
            Whether all of it has ended.
        """
        end = time.monotonic() + seconds
        self._stopping.set()
        if self._heat_map_thread is not None:
            self._heat_map_thread.join(seconds)
            if self._heat_map_thread.is_alive():
                return False
        have_ended = [model.encoder.stop(max(0.0, end - time.monotonic())) for model in self.models]
        return all(have_ended)

    def begin_encoding(self, question: str) -> list["Future[EncodedQuestion]"]:
        """Hands a question to the encoders of all models."""
        return [model.encoder.encode(question) for model in self.models]

    def search(
        self, request: SearchRequest, encoded: Sequence[EncodedQuestion], start: float
    ) -> SearchAnswer:
        """Searches all indexes for an encoded question.

        Args:
            request: the question, and where its answers are looked for.
            encoded: the question as each model sees it.
            start: when the request came, by `time.monotonic`.
        """
        chosen = self._choose_languages(request)
        rows = None
        if self.questions is not None:
            rows = self.questions.find_relevant_rows(request.question)
        rankings = []
        for number, model in enumerate(self.models):
            known = set() if rows is None else set(rows.tolist())
            vector_1D = encoded[number].vector_D[None]
            [hits] = model.index.find_hits(vector_1D, request.k, chosen)
            other_ranks = self._rank_with_other(number, hits, encoded, chosen)
            rankings.append(_describe_ranking(model, encoded[number], hits, other_ranks, known))
        pool = self.passages_of_language
        if chosen is not None:
            pool = {language: pool[language] for language in chosen}
        return SearchAnswer(
            question=request.question,
            is_of_benchmark=rows is not None,
            models=rankings,
            pool=pool,
            answers=[] if rows is None else self._place_answers(rows, encoded, chosen),
            seconds=round(time.monotonic() - start, 4),
        )

    def list_unknown_languages(self, languages: Sequence[str]) -> list[str]:
        """Returns those of some languages in which there is no passage."""
        return [language for language in languages if language not in self.passages_of_language]

    def suggest(self, text: str) -> list[SuggestedQuestion]:
        """Suggests questions of the benchmark; none where there is no benchmark."""
        if self.questions is None:
            return []
        found = self.questions.suggest(text, SUGGESTIONS)
        return [SuggestedQuestion(text=one.text, language=one.language) for one in found]

    def get_heat_map(self) -> HeatMapAnswer:
        """Returns the heat map, or how far it is."""
        return self._heat_map

    def describe(self) -> About:
        """Describes what is served."""
        descriptions = []
        for model in self.models:
            descriptions.append(
                ModelDescription(
                    label=model.label, index=model.index.folder.name, search=model.index.method
                )
            )
        return About(
            version=hybrid_ir.__version__,
            models=descriptions,
            source=self.name,
            licence=self.models[0].index.card["source"]["licence"],
            languages=self.passages_of_language,
            language_names={code: name_language(code) for code in self.passages_of_language},
            benchmark=None if self.benchmark is None else self.name,
            questions=0 if self.questions is None else len(self.questions),
            repeated_questions=0 if self.questions is None else self.questions.repeated,
            default_hits=self.default_hits,
            most_hits=MOST_HITS,
            most_characters=self.most_characters,
        )

    def _count_passages(self) -> dict[str, int]:
        passages = self.models[0].index.passages
        counts = np.bincount(passages.codes_N, minlength=len(passages.languages))
        return dict(zip(passages.languages, counts.tolist(), strict=True))

    def _choose_languages(self, request: SearchRequest) -> list[str] | None:
        """Returns the chosen languages in the order of the index; None for all of them."""
        if request.languages is None:
            return None
        chosen = [one for one in self.passages_of_language if one in request.languages]
        return None if len(chosen) == len(self.passages_of_language) else chosen

    def _rank_with_other(
        self,
        number: int,
        hits: Sequence[Hit],
        encoded: Sequence[EncodedQuestion],
        chosen: list[str] | None,
    ) -> list[int | None]:
        """Returns the place of each hit of a model with the other model, None where it has none."""
        if len(self.models) == 1:
            return [None] * len(hits)
        other = 1 - number
        model = self.models[other]
        rows = np.array([model.row_of_id[hit.id] for hit in hits], np.int64)
        return _find_places(model, encoded[other], rows, chosen).tolist()

    def _place_answers(
        self, rows: np.ndarray, encoded: Sequence[EncodedQuestion], chosen: list[str] | None
    ) -> list[KnownAnswer]:
        """Ranks the known answers with every model, the best of the first model first."""
        passages = self.models[0].index.passages
        answers = []
        for row in rows.tolist():
            answers.append(
                KnownAnswer(
                    language=passages.get_language(row),
                    id=passages.ids[row],
                    text=passages.texts[row],
                    places=[],
                )
            )
        for model, question in zip(self.models, encoded, strict=True):
            ranks = _find_places(model, question, rows, None).tolist()
            chosen_ranks = _find_places(model, question, rows, chosen).tolist()
            for answer, rank, chosen_rank in zip(answers, ranks, chosen_ranks, strict=True):
                is_chosen = chosen is None or answer.language in chosen
                answer.places.append(
                    AnswerPlace(
                        model=model.label,
                        rank=rank,
                        rank_among_chosen=chosen_rank if is_chosen else None,
                    )
                )
        answers.sort(key=lambda answer: answer.places[0].rank)
        return answers

    def _compute_heat_map(self) -> None:
        total = len(self.benchmark.queries) * len(self.models)
        maps = []
        try:
            for number, model in enumerate(self.models):
                before = number * len(self.benchmark.queries)

                def count(done: int, _: int, before: int = before) -> None:
                    if self._stopping.is_set():
                        raise StoppedError("the server ends")
                    self._heat_map = HeatMapAnswer(
                        status="computing", done=before + done, total=total
                    )

                cells = load_or_compute_cells(model.index, model.encoder, self.benchmark, count)
                maps.append(HeatMapOfModel(model=model.label, cells=cells))
        except Exception as error:  # It must not end the server, and the page says it.
            self._heat_map = HeatMapAnswer(status="failed", reason=str(error))
            return
        self._heat_map = HeatMapAnswer(
            status="ready",
            done=total,
            total=total,
            languages=list(self.benchmark.languages),
            maps=maps,
        )


def _find_places(
    model: ServedModel, encoded: EncodedQuestion, rows: np.ndarray, chosen: list[str] | None
) -> np.ndarray:
    return find_exact_places(
        model.index.vectors, encoded.vector_D, rows, model.mark_allowed(chosen)
    )


def _describe_ranking(
    model: ServedModel,
    encoded: EncodedQuestion,
    hits: Sequence[Hit],
    other_ranks: Sequence[int | None],
    known_rows: set[int],
) -> ModelRanking:
    listed = []
    for hit, other_rank in zip(hits, other_ranks, strict=True):
        listed.append(
            ListedPassage(
                rank=hit.rank,
                score=hit.score,
                language=hit.language,
                id=hit.id,
                text=hit.text,
                is_known_answer=hit.row in known_rows,
                other_rank=other_rank,
            )
        )
    mix = Counter(hit.language for hit in hits)
    return ModelRanking(
        model=model.label,
        is_question_cut=encoded.is_cut,
        hits=listed,
        mix=dict(mix.most_common()),
    )
