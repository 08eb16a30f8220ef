"""Training-free corrections of language bias that become part of a model: see docs."""

from hybrid_ir.debias.correction import LanguageCorrection, fit_correction
from hybrid_ir.debias.debias import FittedCorrection, debias
from hybrid_ir.debias.folder import read_correction, write_corrected_model
from hybrid_ir.debias.modules import encode_texts
from hybrid_ir.debias.texts import draw_from_corpus, read_text_lines
from hybrid_ir.files.language_identification import detect_languages

__all__ = [
    "FittedCorrection",
    "LanguageCorrection",
    "debias",
    "detect_languages",
    "draw_from_corpus",
    "encode_texts",
    "fit_correction",
    "read_correction",
    "read_text_lines",
    "write_corrected_model",
]
