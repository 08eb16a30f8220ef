"""What the server takes and answers, as JSON; `/docs` and `/openapi.json` are written from it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from hybrid_ir.serve.loading import Status

MOST_HITS = 100


class SearchRequest(BaseModel):
    """A question, and among which passages its answers are looked for."""

    model_config = ConfigDict(extra="forbid")

    question: str = Field(description="In any language.", examples=["Where is Kabul?"])
    k: int = Field(10, ge=1, le=MOST_HITS, description="How many passages are listed.")
    languages: list[str] | None = Field(
        None, description="Codes of the passages that may be found; null for all."
    )


class ListedPassage(BaseModel):
    """A passage of a ranking."""

    rank: int = Field(description="Its place, from 1.")
    score: float = Field(description="The inner product with the question's vector.")
    language: str
    id: str
    text: str
    is_known_answer: bool = Field(description="Whether the benchmark says that it is relevant.")
    other_rank: int | None = Field(
        description="Its exact place with the other model among the same passages; null where "
        "there is one model."
    )


class ModelRanking(BaseModel):
    """What one model finds."""

    model: str
    is_question_cut: bool = Field(description="Whether the model read only its beginning.")
    hits: list[ListedPassage]
    mix: dict[str, int] = Field(description="How many of these passages each language has.")


class AnswerPlace(BaseModel):
    """Where one model ranks a known answer, computed exactly from all vectors."""

    model: str
    rank: int = Field(description="Among the passages of all languages.")
    rank_among_chosen: int | None = Field(
        description="Among the passages of the chosen languages; null where it is not one of them."
    )


class KnownAnswer(BaseModel):
    """A passage that is relevant to the question, as the benchmark says."""

    language: str
    id: str
    text: str
    places: list[AnswerPlace]


class SearchAnswer(BaseModel):
    """What each model finds for a question."""

    question: str
    is_of_benchmark: bool = Field(description="Whether the known answers of the question are known")
    models: list[ModelRanking]
    pool: dict[str, int] = Field(
        description="How many passages each of the chosen languages has, found or not."
    )
    answers: list[KnownAnswer]
    seconds: float = Field(description="The time that the server took.")


class Health(BaseModel):
    """How far the server is."""

    status: Status
    stage: str = Field(description="What is being done; the reason where it failed.")
    part: str = Field(
        description='Which model it is done for, as in "model 1 of 2"; empty for all of them.'
    )
    done: int = Field(description="Texts of this stage and model.")
    total: int
    seconds_left: float | None = Field(description="Of this stage and model.")


class ModelDescription(BaseModel):
    """One model of the page."""

    label: str
    index: str
    search: str = Field(description="How passages are found: exact, quantised or faiss.")


class About(BaseModel):
    """What is served."""

    version: str
    models: list[ModelDescription]
    source: str = Field(description="Where the passages come from: the name that was chosen.")
    licence: str
    languages: dict[str, int] = Field(description="How many passages each language has.")
    language_names: dict[str, str] = Field(description="In English.")
    benchmark: str | None
    questions: int = Field(description="Of the benchmark, that are suggested; all differ.")
    repeated_questions: int = Field(description="Others, with the text of one of these.")
    default_hits: int
    most_hits: int
    most_characters: int = Field(description="Of a question.")


class SuggestedQuestion(BaseModel):
    """A question of the benchmark."""

    text: str
    language: str


class HeatMapOfModel(BaseModel):
    """The cells of one model, by language of the question and of the passage."""

    model: str
    cells: list[list[float | None]]


class HeatMapAnswer(BaseModel):
    """How well each language of questions finds each language of passages.

    A cell is the mean of 1 / rank of the relevant passage of one language, alone among all passages
    that are not relevant. A model without language bias has flat rows.
    """

    status: Literal["none", "computing", "ready", "failed"]
    reason: str = ""
    done: int = 0
    total: int = 0
    languages: list[str] = []
    maps: list[HeatMapOfModel] = []


class Problem(BaseModel):
    """Why a request was refused."""

    code: str = Field(examples=["question_empty"])
    message: str


class Refusal(BaseModel):
    """The answer to a request that was refused."""

    error: Problem
