"""What is exported, and how far an export may be from the encoder that it was made from."""

from collections.abc import Sequence
from dataclasses import dataclass

FORMATS = ("sentence_transformers", "transformers", "onnx", "onnx_int8")
INT8_METHODS = ("dynamic", "static")
# Formats that run the same float32 weights, and so must give the same vectors.
EXACT_FORMATS = ("sentence_transformers", "transformers", "onnx")


@dataclass(frozen=True)
class ExportSettings:
    """What is exported, and the bounds of the parity gate; see conf/export.yaml.

    Args:
        formats: of FORMATS.
        min_cosine: of each vector with that of the encoder, in the formats of float32.
        max_map_difference: of the mAP of each view, in the formats of float32.
        int8_min_cosine: the same cosine under int8.
        int8_mean_cosine: the mean of these cosines under int8.
        int8_max_map_loss: of the mAP of any language in any view under int8.
        int8_methods: of INT8_METHODS; of several, that with the larger mean cosine is kept.
        int8_embeddings: whether the table of token vectors becomes int8 as well. It is most of a
            small multilingual model.
        trust_remote_code: whether other libraries may run code that the model brings along.

    Raises:
        ValueError: names every value that is not allowed.
    """

    formats: Sequence[str] = ("sentence_transformers", "transformers")
    min_cosine: float = 0.9999
    max_map_difference: float = 1e-4
    int8_min_cosine: float = 0.95
    int8_mean_cosine: float = 0.98
    int8_max_map_loss: float = 0.1
    int8_methods: Sequence[str] = INT8_METHODS
    int8_embeddings: bool = True
    trust_remote_code: bool = False

    def __post_init__(self):
        problems = _find_list_problems("formats", self.formats, FORMATS)
        problems += _find_list_problems("int8_methods", self.int8_methods, INT8_METHODS)
        for key in (
            "min_cosine",
            "max_map_difference",
            "int8_min_cosine",
            "int8_mean_cosine",
            "int8_max_map_loss",
        ):
            value = getattr(self, key)
            if type(value) not in (int, float) or not 0 <= value <= 1:
                problems.append(f"{key}={value!r} must be a number from 0 to 1")
        if problems:
            raise ValueError("; ".join(problems))

    def get_min_cosine(self, name: str) -> float:
        """Returns the least cosine of a vector of a format."""
        return self.min_cosine if name in EXACT_FORMATS else self.int8_min_cosine


def _find_list_problems(key: str, values: Sequence[str], known: Sequence[str]) -> list[str]:
    """Returns what is wrong with a list of names that must be known, and at least one."""
    choices = ", ".join(known)
    if isinstance(values, str) or not values:
        return [f"{key}={values!r} must be a list of at least one of {choices}"]
    unknown = [str(value) for value in values if value not in known]
    if unknown:
        return [f"{key}: {', '.join(unknown)} must be one of {choices}"]
    return []
