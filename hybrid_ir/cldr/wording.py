"""How a language puts facts into words: by its templates, or without any."""

from collections.abc import Iterator
from functools import cache
from importlib.resources import files

import yaml

from hybrid_ir.cldr.entities import Entity
from hybrid_ir.cldr.facts import Fact
from hybrid_ir.cldr.names import Names

TEMPLATES = files("hybrid_ir.cldr") / "templates"
STYLES = ("natural", "telegraphic")


class Templates:
    """Questions and passages from `templates/{language}.yaml`; None where the language cannot name a part."""

    styles = STYLES

    def __init__(self, language: str):
        self.language, self.data = language, templates(language)
        self.names = Names(language, self.data["quantities"])
        self.articles = {code: word for word, codes in self.data.get("articles", {}).items() for code in codes}

    def passage(self, fact: Fact) -> str | None:
        name, values = self._shown(fact.subject), self.names.join(fact.values)
        if name is None or values is None or self._says_nothing(fact):
            return None
        if len(fact.values) == 1:
            values = self._shown(fact.values[0])
        label = self.data["kinds"][fact.kind]["label"]
        return self._sentence(self.data["passage"].format(name=name, label=label, values=values))

    def question(self, fact: Fact, asker: Entity, style: str) -> str | None:
        """In the `natural` style as people speak, with the article that a name needs; `telegraphic` as they type."""
        name = self._shown(asker)
        if name is None:
            return None
        if style == "natural" and asker.noun == "territory" and asker.code in self.articles:
            name = f"{self.articles[asker.code]} {name}"
        return self._sentence(self.data["kinds"][fact.kind][style].format(name=name))

    def _shown(self, entity: Entity) -> str | None:
        """The name, in quotes where a language names, say, its time zones just like countries."""
        name = self.names(entity)
        return name and self.data.get("forms", {}).get(entity.noun, "{}").format(name)

    def _says_nothing(self, fact: Fact) -> bool:
        """Guatemala, time-zone city: Guatemala."""
        return any(self._shown(value) == self._shown(fact.subject) for value in fact.values)

    def _sentence(self, text: str) -> str:
        """With a capital letter, for the languages that write "persa" or "персидский" inside a sentence."""
        first = "İ" if self.language == "tr" and text[0] == "i" else text[0].upper()
        return first + text[1:]


class Keywords:
    """Without templates, for any language: a name and one value ask for the line with the name and all values."""

    styles = ("keywords",)

    def __init__(self, language: str):
        self.names = Names(language)

    def passage(self, fact: Fact) -> str | None:
        name, values = self.names(fact.subject), self.names.join(fact.values)
        return None if name is None or values is None or name == values else f"{name}: {values}"

    def question(self, fact: Fact, asker: Entity, style: str) -> str | None:
        name, value = self.names(asker), self.names(fact.values[0])
        return None if name is None or value is None else f"{value} {name}"


def questions(wording: Templates | Keywords, fact: Fact) -> Iterator[tuple[str, Entity, str | None]]:
    """(style, asker, text) of all questions about a fact; each language gives them in the same order."""
    for asker in fact.askers:
        for style in wording.styles:
            yield style, asker, wording.question(fact, asker, style)


@cache
def templates(language: str) -> dict:
    return yaml.safe_load((TEMPLATES / f"{language}.yaml").read_text(encoding="utf-8"))
