"""Shows the examples of docstrings as code: an extension of griffe, which reads the docstrings."""

import textwrap
from typing import Any

import griffe

HEADINGS = ("Example:", "Examples:")


class ExampleCode(griffe.Extension):
    """Puts fences around the section `Example:` of each docstring."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Changes the docstring of an object that was read."""
        if obj.docstring is not None:
            obj.docstring.value = fence_example(obj.docstring.value)


def fence_example(docstring: str) -> str:
    """Returns a docstring whose last section, if it is an example, is a block of code."""
    for heading in HEADINGS:
        before, found, example = docstring.rpartition(f"\n{heading}\n")
        if found:
            code = textwrap.dedent(example).strip("\n")
            return f"{before}\n\n**Example**\n\n```python\n{code}\n```\n"
    return docstring
