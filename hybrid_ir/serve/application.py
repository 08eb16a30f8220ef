"""The routes of the server: the page, the search, and what the page asks for besides.

This file does without torch, so that the server answers while it is being loaded.
"""

import asyncio
import time
from importlib.resources import files
from typing import TYPE_CHECKING

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

import hybrid_ir
from hybrid_ir.pages import read_stylesheet
from hybrid_ir.serve.loading import LoadingState
from hybrid_ir.serve.schema import (
    About,
    Health,
    HeatMapAnswer,
    Problem,
    Refusal,
    SearchAnswer,
    SearchRequest,
    SuggestedQuestion,
)

if TYPE_CHECKING:
    from hybrid_ir.serve.engine import Engine

DESCRIPTION = "Searches passages in several languages by one or two models of `hybrid-ir serve`."
REFUSALS = {
    422: {"model": Refusal, "description": "The request is refused, and the message says why."},
    503: {"model": Refusal, "description": "The models are still being loaded."},
}
# Each search uses all cores, so that many at once would only get in each other's way.
SEARCHES_AT_ONCE = 2
MEDIA_TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "png": "image/png"}
# Files of the page by their address. Those of Swagger UI are in the package fastapi-offline.
PAGE_FILES = {
    "/": "index.html",
    "/static/page.js": "page.js",
    "/docs": "docs.html",
    "/static/docs.js": "docs.js",
}
SWAGGER_FILES = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png")


class RefusedRequestError(Exception):
    """A request that is refused.

    Args:
        status: of HTTP.
        code: one word for programs.
        message: a sentence for people.
    """

    def __init__(self, status: int, code: str, message: str):
        super().__init__(message)
        self.status = status
        self.code = code


class Served:
    """What the routes look at: the engine as soon as it is there, and how far it is until then.

    Attributes:
        state: how far the loading is.
        engine: answers questions; None until it is loaded.
    """

    def __init__(self, state: LoadingState):
        self.state = state
        self.engine: Engine | None = None

    def require_engine(self) -> "Engine":
        """Returns the engine. Raises RefusedRequestError until it is loaded."""
        if self.engine is not None:
            return self.engine
        state = self.state.look()
        if state.status == "failed":
            raise RefusedRequestError(503, "failed", state.stage)
        raise RefusedRequestError(503, "loading", f"still {state.stage}: try again soon")


def create_application(served: Served) -> FastAPI:
    """Creates the application, which answers from the first moment on."""
    application = FastAPI(
        title="hybrid-ir serve",
        version=hybrid_ir.__version__,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
    )
    _add_error_handlers(application)
    _add_files(application)
    _add_search(application, served)
    _add_descriptions(application, served)
    return application


def _add_error_handlers(application: FastAPI) -> None:
    """Gives every refusal the same form."""

    @application.exception_handler(RefusedRequestError)
    async def answer_refused(_: Request, error: RefusedRequestError) -> JSONResponse:
        return _answer_problem(error.status, error.code, str(error))

    @application.exception_handler(RequestValidationError)
    async def answer_invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        messages = []
        for problem in error.errors():
            place = ".".join(str(part) for part in problem["loc"] if part != "body")
            messages.append(f"{place}: {problem['msg']}" if place else problem["msg"])
        return _answer_problem(422, "request_invalid", "; ".join(messages))

    @application.exception_handler(HTTPException)
    async def answer_http_error(_: Request, error: HTTPException) -> JSONResponse:
        return _answer_problem(error.status_code, "not_possible", str(error.detail))


def _answer_problem(status: int, code: str, message: str) -> JSONResponse:
    content = Refusal(error=Problem(code=code, message=message)).model_dump()
    return JSONResponse(content, status_code=status)


def _add_files(application: FastAPI) -> None:
    """Adds the page, the description of the routes, and their files."""
    contents = {}
    page = files("hybrid_ir.serve") / "page"
    for address, name in PAGE_FILES.items():
        contents[address] = (name, (page / name).read_bytes())
    style = f"{read_stylesheet()}\n{(page / 'page.css').read_text(encoding='utf-8')}"
    contents["/static/style.css"] = ("style.css", style.encode())
    for name in SWAGGER_FILES:
        file = files("fastapi_offline") / "static" / name
        contents[f"/static/{name}"] = (name, file.read_bytes())
    for address, (name, content) in contents.items():
        _add_file(application, address, name, content)


def _add_file(application: FastAPI, address: str, name: str, content: bytes) -> None:
    kind = MEDIA_TYPES[name.rpartition(".")[2]]

    @application.get(address, include_in_schema=False)
    async def get_file() -> Response:
        return Response(content, media_type=kind)


def _add_search(application: FastAPI, served: Served) -> None:
    """Adds the route that answers questions."""
    searches_at_once = CapacityLimiter(SEARCHES_AT_ONCE)

    @application.post("/search", responses=REFUSALS)
    async def search(request: SearchRequest) -> SearchAnswer:
        """Ranks the passages of all chosen languages together, with each model."""
        start = time.monotonic()
        engine = served.require_engine()
        _require_question(request, engine)
        futures = engine.begin_encoding(request.question)
        encoded = await asyncio.gather(*map(asyncio.wrap_future, futures))
        return await to_thread.run_sync(
            engine.search, request, encoded, start, limiter=searches_at_once
        )


def _require_question(request: SearchRequest, engine: "Engine") -> None:
    """Raises RefusedRequestError for a question or languages that cannot be searched."""
    most = engine.most_characters
    if not request.question.strip():
        raise RefusedRequestError(422, "question_empty", "The question is empty: type one.")
    if any("\ud800" <= character <= "\udfff" for character in request.question):
        raise RefusedRequestError(
            422,
            "question_no_text",
            "The question has half of a character (a surrogate without its partner): type it anew.",
        )
    if len(request.question) > most:
        raise RefusedRequestError(
            422,
            "question_too_long",
            f"The question has {len(request.question):,} characters, and may have {most:,}: "
            "shorten it.",
        )
    if request.languages is None:
        return
    if not request.languages:
        raise RefusedRequestError(422, "languages_empty", "Choose at least one language.")
    unknown = engine.list_unknown_languages(request.languages)
    if unknown:
        known = ", ".join(engine.passages_of_language)
        raise RefusedRequestError(
            422, "languages_unknown", f"No passage is in {', '.join(unknown)}: there are {known}."
        )


def _add_descriptions(application: FastAPI, served: Served) -> None:
    """Adds the routes that say what is served, and how far it is."""

    @application.get("/health")
    async def health() -> Health:
        """Says whether questions can be answered, or how far the loading is."""
        served.state.was_asked = True
        state = served.state.look()
        return Health(
            status=state.status,
            stage=state.stage,
            part=state.part,
            done=state.done,
            total=state.total,
            seconds_left=state.seconds_left,
        )

    @application.get("/about", responses=REFUSALS)
    async def about() -> About:
        """Describes the models, the passages and the limits."""
        return served.require_engine().describe()

    @application.get("/questions", responses=REFUSALS)
    async def suggest_questions(
        text: str = Query("", description="What is typed so far.", max_length=200),
    ) -> list[SuggestedQuestion]:
        """Suggests questions of the benchmark, in all its languages."""
        return await run_in_threadpool(served.require_engine().suggest, text)

    @application.get("/heat-map", responses=REFUSALS)
    async def heat_map() -> HeatMapAnswer:
        """Returns the heat map of each model, which is computed in the background."""
        return served.require_engine().get_heat_map()
