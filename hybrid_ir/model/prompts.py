"""Prompts of retrievers: which of a model's files are used, and which a known model needs.

A prompt is a text before every query or every passage. A model that was trained with prompts is
worse without them, and nothing in its vectors shows that they are missing.
"""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import metadata_load

from hybrid_ir.types import Role

# Names under which models keep the prompt of a role; the first one that is there is used. Capitals
# do not count. sentence-transformers itself knows `query`, `document`, `passage` and `corpus`.
PROMPT_NAMES: dict[Role, tuple[str, ...]] = {
    "query": (
        "query",
        "search_query",
        "retrieval.query",
        "retrieval_query",
        "retrieval-query",
        "web_search_query",
        "s2p_query",
        "queries",
        "question",
    ),
    "passage": (
        "document",
        "passage",
        "corpus",
        "search_document",
        "search_passage",
        "retrieval.passage",
        "retrieval.document",
        "retrieval_passage",
        "retrieval_document",
        "retrieval-passage",
        "retrieval-document",
        "documents",
        "passages",
    ),
}
LISTED_NAMES = 6  # prompts that are not used and that a line names
FROM_KEYS = "from keys"
FROM_FOLDER = "from the folder"
NO_PROMPT = "none"

# The prompts of several models, word by word.
WEB_SEARCH = "Given a web search query, retrieve relevant passages that answer the query"
INSTRUCTION = f"Instruct: {WEB_SEARCH}\nQuery: "
SEARCH_SENTENCE = "Represent this sentence for searching relevant passages: "


@dataclass(frozen=True)
class PromptFamily:
    """Models that were trained with the same prompts.

    Args:
        name: for messages.
        pattern: matches the names of its models, without their owner, in small letters.
        query: the prompt of queries.
        passage: the prompt of passages; "" for none.
        source: the model card that says so, on https://huggingface.co.
    """

    name: str
    pattern: str
    query: str
    passage: str
    source: str


# The first family that matches counts, so that special ones stand before general ones. Both
# prompts are "" for a family that has none: nothing is missing there.
FAMILIES = (
    PromptFamily("E5 instruct", r"\be5\b.*\binstruct\b", INSTRUCTION, "",
                 "intfloat/multilingual-e5-large-instruct"),
    PromptFamily("E5", r"\bm?e5\b", "query: ", "passage: ", "intfloat/multilingual-e5-small"),
    PromptFamily("BGE-M3", r"\bbge m3\b", "", "", "BAAI/bge-m3"),
    PromptFamily("BGE gemma2", r"\bbge (multilingual gemma2|en icl)\b",
                 f"<instruct>{WEB_SEARCH}.\n<query>", "", "BAAI/bge-multilingual-gemma2"),
    PromptFamily("BGE (Chinese)", r"\bbge (small|base|large) zh\b",
                 "为这个句子生成表示以用于检索相关文章：", "", "BAAI/bge-large-zh-v1.5"),
    PromptFamily("BGE (English)", r"\bbge (small|base|large) en\b", SEARCH_SENTENCE, "",
                 "BAAI/bge-large-en-v1.5"),
    PromptFamily("GTE Qwen", r"\bgte qwen", INSTRUCTION, "", "Alibaba-NLP/gte-Qwen2-7B-instruct"),
    PromptFamily("GTE", r"\bgte\b", "", "", "Alibaba-NLP/gte-multilingual-base"),
    PromptFamily("nomic embed", r"\bnomic embed text\b", "search_query: ", "search_document: ",
                 "nomic-ai/nomic-embed-text-v1.5"),
    PromptFamily("modernbert-embed", r"\bmodernbert embed\b", "search_query: ",
                 "search_document: ", "nomic-ai/modernbert-embed-base"),
    PromptFamily("Arctic embed 2.0", r"\barctic embed [ml] v2\b", "query: ", "",
                 "Snowflake/snowflake-arctic-embed-l-v2.0"),
    PromptFamily("Arctic embed", r"\barctic embed\b", SEARCH_SENTENCE, "",
                 "Snowflake/snowflake-arctic-embed-l"),
    PromptFamily("Jina embeddings v3", r"\bjina embeddings v3\b",
                 "Represent the query for retrieving evidence documents: ",
                 "Represent the document for retrieval: ", "jinaai/jina-embeddings-v3"),
    PromptFamily("Jina embeddings v2", r"\bjina embeddings? v2\b", "", "",
                 "jinaai/jina-embeddings-v2-base-en"),
    PromptFamily("Qwen3 Embedding", r"\bqwen3 embedding\b",
                 f"Instruct: {WEB_SEARCH}\nQuery:", "", "Qwen/Qwen3-Embedding-0.6B"),
    PromptFamily("mxbai (German)", r"\bmxbai embed de\b", "query: ", "passage: ",
                 "mixedbread-ai/deepset-mxbai-embed-de-large-v1"),
    PromptFamily("mxbai", r"\bmxbai embed\b", SEARCH_SENTENCE, "",
                 "mixedbread-ai/mxbai-embed-large-v1"),
    PromptFamily("EmbeddingGemma", r"\bembeddinggemma\b", "task: search result | query: ",
                 "title: none | text: ", "google/embeddinggemma-300m"),
    PromptFamily("SFR-Embedding", r"\bsfr embedding mistral\b", INSTRUCTION, "",
                 "Salesforce/SFR-Embedding-Mistral"),
    PromptFamily("UAE", r"\buae large\b", SEARCH_SENTENCE, "", "WhereIsAI/UAE-Large-V1"),
    PromptFamily("ru-en-RoSBERTa", r"\bru en rosberta\b", "search_query: ", "search_document: ",
                 "ai-forever/ru-en-RoSBERTa"),
)  # fmt: skip
E5_FAMILY = FAMILIES[1]


@dataclass(frozen=True)
class Recognition:
    """A family that a model seems to belong to, and what says so."""

    family: PromptFamily
    evidence: str


@dataclass(frozen=True)
class ChosenPrompts:
    """The prompts that a model is read with, and where they come from.

    Args:
        texts: the prompt of each role, "" for none.
        origins: of the prompt of each role: FROM_KEYS, NO_PROMPT, or FROM_FOLDER and its name.
        unused: names of the model's prompts that are not used, though no key replaced them.
    """

    texts: dict[Role, str]
    origins: dict[Role, str]
    unused: tuple[str, ...]

    def describe(self) -> str:
        """Says for a card where the prompts come from."""
        if self.origins["query"] == self.origins["passage"]:
            return self.origins["query"]
        return f"query: {self.origins['query']}; passage: {self.origins['passage']}"


def choose_prompts(
    settings: Mapping[Role, str | None],
    prompts: Mapping[str, str | None],
    default_name: str | None = None,
) -> ChosenPrompts:
    """Chooses the prompt of each role: of the user's keys, else of the model's files.

    Empty prompts are passed over, since sentence-transformers adds an empty `query` and `document`
    to every model and writes them with it. A role without a prompt of its own gets the one of the
    model's `default_prompt_name`, as `SentenceTransformer.encode` does, unless it is a name of the
    other role.

    Args:
        settings: what the user wants for each role; None for the model's own.
        prompts: the model's prompts by their names.
        default_name: the model's `default_prompt_name`.
    """
    present = {name: text for name, text in prompts.items() if text}
    texts: dict[Role, str] = {}
    origins: dict[Role, str] = {}
    used = set()
    for role in PROMPT_NAMES:
        setting = settings[role]
        name = _find_prompt_name(role, present, default_name)
        if setting is not None:
            texts[role] = setting
            origins[role] = FROM_KEYS
        elif name is not None:
            texts[role] = present[name]
            origins[role] = f"{FROM_FOLDER} ({name})"
            used.add(name)
        else:
            texts[role] = ""
            origins[role] = NO_PROMPT
    is_chosen_by_keys = FROM_KEYS in origins.values()
    unused: tuple[str, ...] = ()
    if not is_chosen_by_keys:
        # The same text under another name is no other prompt.
        used_texts = {present[name] for name in used}
        unused = tuple(name for name, text in present.items() if text not in used_texts)
    return ChosenPrompts(texts, origins, unused)


def _find_prompt_name(
    role: Role, present: Mapping[str, str], default_name: str | None
) -> str | None:
    """Returns the name of the prompt of a role in a model's files, None if it has none."""
    names_in_small_letters = {name.lower(): name for name in present}
    for name in PROMPT_NAMES[role]:
        if name in present:
            return name
        if name in names_in_small_letters:
            return names_in_small_letters[name]
    if default_name in present:
        for other_role, names in PROMPT_NAMES.items():
            if other_role != role and default_name.lower() in names:
                return None
        return default_name
    return None


def recognise_family(place: str, readme: Path | None = None) -> Recognition | None:
    """Recognises a model whose prompts are known, by its name or by what its files say of it.

    Args:
        place: folder or hub id.
        readme: the model card, of a model of the hub; a folder has its own.

    Returns:
        The family of the first name that belongs to one: of the place, of the config's
        `_name_or_path`, of the base model in the README; else the one that the architecture shows.
    """
    folder = Path(place)
    config: dict[str, Any] = {}
    if folder.is_dir():
        config = _read_json(folder / "config.json")
        readme = folder / "README.md"
    named = {"its name": _list_names_of_place(folder.absolute() if folder.is_dir() else folder)}
    named["_name_or_path of its config.json"] = [str(config.get("_name_or_path") or "")]
    named["the base model in its README"] = _list_base_models(readme)
    for evidence, names in named.items():
        for name in names:
            family = match_family(name)
            if family is not None:
                return Recognition(family, evidence)
    if folder.is_dir() and _has_architecture_of_small_e5(folder, config):
        return Recognition(E5_FAMILY, "its architecture, that of multilingual-e5-small")
    return None


def match_family(name: str) -> PromptFamily | None:
    """Returns the family of a model by its name, with or without an owner; None if unknown."""
    words = re.sub(r"[^a-z0-9]+", " ", name.rpartition("/")[2].lower())
    for family in FAMILIES:
        if re.search(family.pattern, words):
            return family
    return None


def describe_missing_prompts(place: str, recognition: Recognition | None) -> str | None:
    """Says in one line that a model without prompts needs some, and how they are set.

    Returns:
        None for a model of no known family, or of one without prompts.
    """
    if recognition is None:
        return None
    family = recognition.family
    if not (family.query or family.passage):
        return None
    query_setting = quote_setting("query_prefix", family.query)
    passage_setting = quote_setting("passage_prefix", family.passage)
    return (
        f"warning: {place} seems to be {family.name} (by {recognition.evidence}), which was "
        f"trained with prompts, and is read without any: set {query_setting} {passage_setting} "
        f"(see https://huggingface.co/{family.source})"
    )


def describe_misspelt_prompts(
    place: str, recognition: Recognition | None, texts: Mapping[Role, str]
) -> str | None:
    """Says in one line that prompts differ from those of a known model by blanks or capitals.

    Args:
        place: folder or hub id.
        recognition: the family of the model.
        texts: the prompt of each role that is used.

    Returns:
        None for a model of no known family, or prompts that are its own or plainly others.
    """
    if recognition is None:
        return None
    family = recognition.family
    corrections = []
    for role, known in (("query", family.query), ("passage", family.passage)):
        text = texts[role]
        if text != known and text.strip().lower() == known.strip().lower() and known:
            setting = quote_setting(f"{role}_prefix", known)
            corrections.append(f"{role}_prefix={text!r}, and {setting} is the one of training")
    if not corrections:
        return None
    return (
        f"warning: {place} seems to be {family.name} (by {recognition.evidence}), but has "
        f"{'; '.join(corrections)}"
    )


def describe_unused_prompts(place: str, chosen: ChosenPrompts) -> str | None:
    """Says in one line which prompts of a model's files are not used; None if all are."""
    if not chosen.unused:
        return None
    names = ", ".join(chosen.unused[:LISTED_NAMES])
    others = len(chosen.unused) - LISTED_NAMES
    if others > 0:
        names += f" and {others} more"
    return (
        f"note: prompts of {place}: query {chosen.origins['query']}, passage "
        f"{chosen.origins['passage']}; not used: {names} (query_prefix= and passage_prefix= "
        "choose others)"
    )


def quote_setting(key: str, value: str) -> str:
    """Returns KEY=VALUE as a shell takes it.

    Args:
        key: of a command.
        value: in which blanks count.
    """
    if "\n" in value:
        escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
        return f"{key}=$'{escaped}'"
    if re.fullmatch(r'[^"$`\\!]*', value):
        return f'{key}="{value}"'
    return f"{key}={shlex.quote(value)}"


def _list_names_of_place(place: Path) -> list[str]:
    """Returns the name of a folder or hub id, and the one in the path of a hub's cache."""
    names = [place.name]
    for part in place.parts:
        if part.startswith("models--"):
            names.append(part.rpartition("--")[2])
    return names


def _list_base_models(readme: Path | None) -> list[str]:
    """Returns the models that a model card names as the base of a model."""
    if readme is None or not readme.is_file():
        return []
    names = []
    try:
        base_models = (metadata_load(readme) or {}).get("base_model") or []
    except Exception:  # of many types: the front matter may hold anything
        base_models = []
    if isinstance(base_models, str):
        base_models = [base_models]
    names.extend(str(name) for name in base_models)
    # The sentence that sentence-transformers writes into every card.
    text = readme.read_text(encoding="utf-8", errors="replace")
    names.extend(re.findall(r"finetuned from \[([^\]\n]+)\]", text))
    return names


def _has_architecture_of_small_e5(folder: Path, config: Mapping[str, Any]) -> bool:
    """Returns whether a sentence-transformers folder is built as multilingual-e5-small is.

    Paraphrase models of the same size have no Normalize. The tokenizer is XLM-R's.
    """
    shape = {
        "model_type": "bert",
        "hidden_size": 384,
        "num_hidden_layers": 12,
        "intermediate_size": 1536,
        "max_position_embeddings": 512,
    }
    has_shape = all(config.get(key) == value for key, value in shape.items())
    modules = _read_json(folder / "modules.json")
    kinds = []
    if isinstance(modules, list):
        for module in modules:
            kind = module.get("type") if isinstance(module, dict) else None
            kinds.append(str(kind).rpartition(".")[2])
    pooling = _read_json(folder / "1_Pooling" / "config.json")
    pools_mean = pooling.get("pooling_mode") == "mean" or pooling.get("pooling_mode_mean_tokens")
    tokenizer = _read_json(folder / "tokenizer_config.json")
    return (
        has_shape
        and kinds == ["Transformer", "Pooling", "Normalize"]
        and bool(pools_mean)
        and tokenizer.get("cls_token") == "<s>"
    )


def _read_json(path: Path) -> Any:
    """Returns the content of a file, an empty dictionary if there is none or it is no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
