"""Backbones: loaded as released, or built from scratch on the texts at hand."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from filelock import FileLock
from huggingface_hub.utils import enable_progress_bars
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertModel,
    PretrainedConfig,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging

from hybrid_ir.files.atomic import write_folder_atomically
from hybrid_ir.files.hub_connection import go_offline_if_unreachable
from hybrid_ir.model.head import build_head, load_linear
from hybrid_ir.model.load_errors import explain_load_error, require_no_bare_adapter
from hybrid_ir.model.module_files import WEIGHT_FILES, find_model_file, load_weights
from hybrid_ir.model.vocabulary import require_vocabulary
from hybrid_ir.model.weights import LoadReport, require_finite_weights

# Folder of the dense layer in a sentence-transformers release of LaBSE.
TANH_HEAD_FOLDER = "2_Dense"
SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
# Keys of a config that hold a dropout rate, such as hidden_dropout_prob and resid_pdrop.
DROPOUT_KEY = re.compile("dropout|pdrop$")
RECIPE_VERSION = 2  # of what FromScratch builds out of the same recipe
HEX_DIGITS_OF_CACHE_KEY = 32


def load_backbone(
    name: str,
    dropout: float | None = None,
    attention: str | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    subfolder: str = "",
) -> tuple[nn.Module, PreTrainedTokenizerFast, nn.Module | None]:
    """Loads a Hugging Face encoder for training.

    Args:
        name: folder or hub id.
        dropout: replaces every dropout rate; None keeps the checkpoint's.
        attention: `sdpa` or `eager`; None takes the library's choice.
        revision: of a hub model.
        trust_remote_code: run code that a hub model brings along.
        subfolder: of the transformer inside the model.

    Returns:
        The encoder without its pooler, in float32 and in training mode, its tokenizer, and the
        pooler, None if the checkpoint has no weights of one.

    Raises:
        ValueError: the name is no folder and the hub did not deliver it, a file is damaged, a
            weight is missing, of another shape or not finite, or the tokenizer is missing or of
            another model.
    """
    require_no_revision_of_a_folder("model", name, revision)
    require_no_bare_adapter(name)
    model, tokenizer, report = _load_pretrained(
        name,
        dropout,
        attention,
        revision=revision,
        trust_remote_code=trust_remote_code,
        subfolder=subfolder,
    )
    described = f"model.backbone={name!r}"
    report.require_complete(described)
    require_finite_weights(described, model)
    require_vocabulary(described, tokenizer, model)
    # The layers are complete here, so what is missing is of the pooler.
    pooler = None if report.missing else getattr(model, "pooler", None)
    # A pooler that no loss reaches would fail distributed training.
    model.pooler = None
    # from_pretrained returns a model in evaluation mode, and Lightning would keep that.
    # A decoder would keep the keys and values of all tokens for a next one.
    model.config.use_cache = False
    return model.train(), tokenizer, pooler


def require_no_revision_of_a_folder(key: str, name: str, revision: str | None) -> None:
    """Raises ValueError for a revision of a model that is a folder of this machine.

    Args:
        key: of the config, for the message.
        name: folder or hub id.
        revision: of a hub model.
    """
    if revision is not None and Path(name).expanduser().is_dir():
        raise ValueError(
            f"revision={revision!r} of {key}={name!r}: a folder has no revisions, only models of "
            "the hub have; leave it out"
        )


def _load_pretrained(
    name: str, dropout: float | None, attention: str | None, **hub_options
) -> tuple[nn.Module, PreTrainedTokenizerFast, LoadReport]:
    """Returns a model in float32, whatever it was stored in, its tokenizer and what it lacks."""
    if not Path(name).is_dir():
        go_offline_if_unreachable()
    try:
        config = AutoConfig.from_pretrained(name, **hub_options)
        has_dropout = dropout is not None and _replace_rates_of_config(config, dropout)
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(name, **hub_options)
            model, loading_info = AutoModel.from_pretrained(
                name,
                config=config,
                attn_implementation=attention,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # the report names them
                **hub_options,
            )
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever a damaged file makes of two libraries
        raise ValueError(
            f"model.backbone={name!r} could not be loaded: {explain_load_error(error, name)}"
        ) from error
    report = LoadReport()
    report.add(loading_info)
    if dropout is not None:
        replace_dropout(model, name, dropout, has_dropout)
    return model, tokenizer, report


def replace_dropout(
    model: nn.Module, name: str, rate: float, has_rate_in_config: bool = False
) -> None:
    """Sets the rate of every dropout layer of a model.

    Args:
        model: changed in place.
        name: of the model, for the message.
        rate: the new one.
        has_rate_in_config: the config had a rate that was replaced before the model was built.

    Raises:
        ValueError: the model has no dropout at all.
    """
    if not _replace_rates_of_layers(model, rate) and not has_rate_in_config:
        raise ValueError(
            f"model.dropout={rate}: the backbone {name!r} has no dropout, neither a rate in "
            "its config nor a layer: use model.dropout=null"
        )


def _replace_rates_of_config(config: PretrainedConfig, rate: float) -> bool:
    """Sets every dropout rate of a config and of those inside it; returns whether it has any."""
    has_any = False
    for key, value in vars(config).copy().items():
        if isinstance(value, PretrainedConfig):
            has_any = _replace_rates_of_config(value, rate) or has_any
        elif DROPOUT_KEY.search(key) and type(value) in (int, float):
            setattr(config, key, rate)
            has_any = True
    return has_any


def _replace_rates_of_layers(model: nn.Module, rate: float) -> bool:
    """Sets the rate of every dropout layer; returns whether the model has any."""
    has_any = False
    for layer in model.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = rate
            has_any = True
    return has_any


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silences transformers, but for the progress bars of downloads.

    It would report on the pooler that we leave out on purpose, and show bars over local files.
    """
    verbosity = logging.get_verbosity()
    had_progress_bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    enable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if had_progress_bars:
            logging.enable_progress_bar()


def load_tanh_head(
    name: str, model: nn.Module, pooler: nn.Module | None, revision: str | None
) -> nn.Module:
    """Loads LaBSE's dense layer and tanh.

    Args:
        name: folder or hub id of the model.
        model: its transformer.
        pooler: of the transformer, None if it has none.
        revision: of a hub model.

    Returns:
        The layers with the weights of the sentence-transformers folder 2_Dense, else of the pooler.

    Raises:
        ValueError: there is neither.
    """
    for file in WEIGHT_FILES:
        path = find_model_file(name, f"{TANH_HEAD_FOLDER}/{file}", revision)
        if path is not None:
            return build_head([load_linear(load_weights(path)), nn.Tanh()])
    if pooler is None:
        raise ValueError(
            f"model.pooling=labse needs a dense layer, and {name!r} has neither "
            f"{TANH_HEAD_FOLDER}/ nor the weights of a pooler: use pooling=cls or mean"
        )
    width = model.config.hidden_size
    dense = nn.Linear(width, width)
    dense.load_state_dict(pooler.dense.state_dict())
    return build_head([dense, nn.Tanh()])


@dataclass(frozen=True)
class FromScratch:
    """Recipe of a small BERT with random weights and a tokenizer trained on the texts at hand.

    The tokenizer is byte-pair with byte fallback, as unigram splits common words on so little text.

    Attributes:
        vocab_size: tokens of the tokenizer, at most.
        width: of the vectors between layers.
        layers: of the transformer.
        heads: of its attention.
        intermediate: width of its feed-forward layers.
        max_positions: longest text in tokens.
        seed: of the random weights.
    """

    vocab_size: int = 8000
    width: int = 128
    layers: int = 1
    heads: int = 4
    intermediate: int = 256
    max_positions: int = 128
    seed: int = 0

    def __str__(self) -> str:
        return (
            f"from scratch ({self.layers} layers, width {self.width}, vocabulary {self.vocab_size})"
        )

    def build(self, texts: Iterable[str], cache: Path) -> Path:
        """Returns a folder with the model in Hugging Face form, built if it is not in the cache.

        The same recipe and texts give the same folder.

        Args:
            texts: the tokenizer is trained on them.
            cache: folder of all backbones.

        Raises:
            ValueError: there are no texts.
        """
        if not texts:
            raise ValueError(
                "model: a backbone from scratch needs the training texts for its tokenizer; name a "
                "checkpoint (model.backbone=PATH) where there are none"
            )
        digest = hashlib.sha256(json.dumps([RECIPE_VERSION, asdict(self)]).encode())
        for text in texts:
            digest.update(text.encode() + b"\n")
        folder = cache / "backbones" / digest.hexdigest()[:HEX_DIGITS_OF_CACHE_KEY]
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{folder}.lock"):
                if not folder.exists():  # another process may have been faster
                    self._write(texts, folder)
        return folder

    def _write(self, texts: Iterable[str], folder: Path) -> None:
        """Writes the tokenizer and the model; the caller holds the lock of the folder."""
        with write_folder_atomically(folder) as temporary:
            self._train_tokenizer(texts).save_pretrained(temporary)
            with quiet_transformers():
                self._build_model().save_pretrained(temporary)

    def _build_model(self) -> BertModel:
        """Returns a model whose random weights depend on nothing but the seed."""
        config = BertConfig(
            vocab_size=self.vocab_size,
            hidden_size=self.width,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            intermediate_size=self.intermediate,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            max_position_embeddings=self.max_positions,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return BertModel(config)

    def _train_tokenizer(self, texts: Iterable[str]) -> PreTrainedTokenizerFast:
        """Returns a byte-pair tokenizer trained on the texts, in the form of BERT's."""
        tokenizer = Tokenizer(models.BPE(unk_token="[UNK]", byte_fallback=True))
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
        reserved_tokens = SPECIAL_TOKENS + [f"<0x{byte:02X}>" for byte in range(256)]
        trainer = trainers.BpeTrainer(
            vocab_size=self.vocab_size,
            # Without a limit the trainer takes all characters, however small the vocabulary is.
            limit_alphabet=max(0, self.vocab_size - len(reserved_tokens)),
            special_tokens=reserved_tokens,
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        tokenizer = _keep_bytes_as_plain_tokens(tokenizer)
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
        )
        return PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            unk_token="[UNK]",
            pad_token="[PAD]",
            cls_token="[CLS]",
            sep_token="[SEP]",
            mask_token="[MASK]",
            model_max_length=self.max_positions,
        )


def _keep_bytes_as_plain_tokens(tokenizer: Tokenizer) -> Tokenizer:
    """Returns the tokenizer with only SPECIAL_TOKENS as special ones.

    Its trainer takes the bytes of the fallback only as special tokens, and a text that spells such
    a token out would turn into it.
    """
    rules = json.loads(tokenizer.to_str())
    special_tokens = []
    for token in rules["added_tokens"]:
        if token["content"] in SPECIAL_TOKENS:
            special_tokens.append(token)
    rules["added_tokens"] = special_tokens
    return Tokenizer.from_str(json.dumps(rules))
