"""The modules that an encoder is built of: of a released model, or of the files of a run."""

from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedTokenizerFast

from hybrid_ir.model.backbone import load_backbone, load_tanh_head
from hybrid_ir.model.module_files import ModuleFiles, read_module_files
from hybrid_ir.model.reading import report_other_similarity, report_unknown_files
from hybrid_ir.model.saved_encoder import SavedEncoder


@dataclass(frozen=True)
class EncoderModules:
    """What an encoder is built of, and the files that say how it is read, if there are any."""

    backbone: nn.Module
    tokenizer: PreTrainedTokenizerFast
    head: nn.Module
    files: ModuleFiles | None


def build_saved_modules(
    saved: SavedEncoder, attention: str | None, dropout: float | None
) -> EncoderModules:
    """Returns the parts of the encoder of a run, without their weights."""
    backbone, tokenizer = saved.build_backbone(attention, dropout)
    return EncoderModules(backbone, tokenizer, saved.build_head(), files=None)


def load_released_modules(
    place: str,
    pooling: str | None,
    normalize: bool,
    attention: str | None,
    dropout: float | None,
    revision: str | None,
    trust_remote_code: bool,
) -> EncoderModules:
    """Loads the parts of a released model; the arguments are those of BiEncoder."""
    files = read_module_files(place, revision, pooling)
    backbone, tokenizer, pooler = load_backbone(
        place,
        dropout=dropout,
        attention=attention,
        revision=revision,
        trust_remote_code=trust_remote_code,
        subfolder=files.transformer_folder if files else "",
    )
    if files is None:
        report_unknown_files(place, revision)
    else:
        report_other_similarity(files, normalize)
    if pooling == "labse":
        head = load_tanh_head(place, backbone, pooler, revision)
    elif files is not None:
        head = files.load_head()
    else:
        head = nn.Identity()
    return EncoderModules(backbone, tokenizer, head, files)
