"""How a language puts facts into words: by its templates, or by names only."""

from functools import cache
from importlib.resources import files

import yaml

from hybrid_ir.cldr.facts import Fact
from hybrid_ir.cldr.names import Entity, Names

TEMPLATES = files("hybrid_ir.cldr") / "templates"


class Templates:
    """Sentences from `templates/{language}.yaml`.

    A text is None where the language cannot name a part of it.
    """

    styles = ("natural", "telegraphic")  # of questions

    def __init__(self, language: str):
        self.language = language
        data = load_templates(language)
        self._passage = data["passage"]
        self._kinds = data["kinds"]
        self._names = Names(language, data["quantities"], data.get("forms"))
        self._article_of_territory: dict[str, str] = {}
        for article, codes in data.get("articles", {}).items():
            for code in codes:
                self._article_of_territory[code] = article

    def write_passage(self, fact: Fact) -> str | None:
        """Returns the sentence that states a fact."""
        values = self._names.join(fact.values)
        if values is None or not _is_informative(self._names, fact):
            return None
        name = self._names.find(fact.subject)
        label = self._kinds[fact.kind]["label"]
        return self._capitalise(self._passage.format(name=name, label=label, values=values))

    def write_question(self, fact: Fact, subject: Entity, style: str) -> str | None:
        """Returns a question that a fact answers.

        Args:
            fact: the answer.
            subject: the entity that the question names.
            style: `natural`, as people speak, with the article that a name needs; or
                `telegraphic`, as people type.
        """
        name = self._names.find(subject)
        if name is None:
            return None
        if style == "natural" and subject.noun == "territory":
            article = self._article_of_territory.get(subject.code)
            if article is not None:
                name = f"{article} {name}"
        return self._capitalise(self._kinds[fact.kind][style].format(name=name))

    def _capitalise(self, text: str) -> str:
        """Returns the text with a capital letter first.

        Some languages write names like "persa" or "персидский" without one inside a sentence.
        """
        first = text[0].upper()
        if self.language == "tr" and text[0] == "i":
            first = "İ"
        return first + text[1:]


class Keywords:
    """Lines of names, for languages without templates.

    A question is a name and one value; it asks for the line with the name and all its values.
    """

    styles = ("keywords",)  # of questions

    def __init__(self, language: str):
        self._names = Names(language)

    def write_passage(self, fact: Fact) -> str | None:
        """Returns the line that states a fact; None where the language cannot name a part."""
        values = self._names.join(fact.values)
        if values is None or not _is_informative(self._names, fact):
            return None
        return f"{self._names.find(fact.subject)}: {values}"

    def write_question(self, fact: Fact, subject: Entity, style: str) -> str | None:
        """Returns the words that ask for a fact; None where the language cannot name a part.

        Args:
            fact: the answer.
            subject: the entity that the question names.
            style: always `keywords`.
        """
        name = self._names.find(subject)
        value = self._names.find(fact.values[0])
        if name is None or value is None:
            return None
        return f"{value} {name}"


def _is_informative(names: Names, fact: Fact) -> bool:
    """Returns whether the subject has a name, and this is not the answer, too.

    "Guatemala, time-zone city: Guatemala" says nothing.
    """
    name = names.find(fact.subject)
    return name is not None and all(names.find(value) != name for value in fact.values)


@cache
def load_templates(language: str) -> dict:
    """Loads the sentences of one language."""
    return yaml.safe_load((TEMPLATES / f"{language}.yaml").read_text(encoding="utf-8"))
