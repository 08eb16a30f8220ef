"""How a language puts facts into words: by its templates, or without any."""

from functools import cache
from importlib.resources import files

import yaml

from hybrid_ir.cldr.entities import Entity
from hybrid_ir.cldr.facts import Fact
from hybrid_ir.cldr.names import Names

TEMPLATES = files("hybrid_ir.cldr") / "templates"


class Templates:
    """Questions and passages from `templates/{language}.yaml`; None where the language cannot name a part."""

    styles = ("natural", "telegraphic")

    def __init__(self, language: str):
        self.language, data = language, templates(language)
        self.frame, self.kinds = data["passage"], data["kinds"]
        self.names = Names(language, data["quantities"], data.get("forms"))
        self.articles = {
            code: word for word, codes in data.get("articles", {}).items() for code in codes
        }

    def passage(self, fact: Fact) -> str | None:
        values = self.names.join(fact.values)
        if values is None or not says_something(self.names, fact):
            return None
        label = self.kinds[fact.kind]["label"]
        return self._sentence(
            self.frame.format(name=self.names(fact.subject), label=label, values=values)
        )

    def question(self, fact: Fact, asker: Entity, style: str) -> str | None:
        """In the `natural` style as people speak, with the article that a name needs; `telegraphic` as they type."""
        name = self.names(asker)
        if name is None:
            return None
        if style == "natural" and asker.noun == "territory" and asker.code in self.articles:
            name = f"{self.articles[asker.code]} {name}"
        return self._sentence(self.kinds[fact.kind][style].format(name=name))

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
        values = self.names.join(fact.values)
        return (
            f"{self.names(fact.subject)}: {values}"
            if values and says_something(self.names, fact)
            else None
        )

    def question(self, fact: Fact, asker: Entity, style: str) -> str | None:
        name, value = self.names(asker), self.names(fact.values[0])
        return None if name is None or value is None else f"{value} {name}"


def says_something(names: Names, fact: Fact) -> bool:
    """Not "Guatemala, time-zone city: Guatemala": the subject has a name, and it is no answer."""
    name = names(fact.subject)
    return name is not None and all(names(value) != name for value in fact.values)


@cache
def templates(language: str) -> dict:
    return yaml.safe_load((TEMPLATES / f"{language}.yaml").read_text(encoding="utf-8"))
