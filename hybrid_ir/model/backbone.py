"""Backbones: loaded as released, or made from scratch on the texts at hand."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from huggingface_hub.utils import enable_progress_bars
from safetensors.torch import load_file
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
    PreTrainedTokenizerFast,
)
from transformers.utils import cached_file, logging

TANH_HEAD_FOLDER = (
    "2_Dense"  # folder of the dense layer in a sentence-transformers release of LaBSE
)
SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
RECIPE_VERSION = 2  # of what a recipe makes


def load_backbone(
    name: str,
    tanh_head: bool = False,
    dropout: float | None = None,
    attention: str | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> tuple[nn.Module, PreTrainedTokenizerFast, nn.Module]:
    """The encoder in float32, its tokenizer, and the head behind the pooling (identity unless `tanh_head`).

    Raises:
        ValueError: not a folder and not to be had from the hub, or weights that the checkpoint lacks.
    """
    hub = {"revision": revision, "trust_remote_code": trust_remote_code}
    try:
        config = AutoConfig.from_pretrained(name, **hub)
        for key, value in config.to_dict().items():
            if dropout is not None and "dropout" in key and isinstance(value, float):
                setattr(config, key, dropout)
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(name, **hub)
            # float32 masters whatever dtype the checkpoint was stored in
            model, report = AutoModel.from_pretrained(
                name,
                config=config,
                attn_implementation=attention,
                dtype=torch.float32,
                output_loading_info=True,
                **hub,
            )
    except (OSError, ValueError) as error:
        raise ValueError(
            f"model.backbone={name!r} could not be loaded: it is no folder with a Hugging Face checkpoint, and the hub did "
            f"not deliver it. Give a local path, or check the name and the network. ({str(error).splitlines()[0]})"
        ) from error
    missing = [key for key in report["missing_keys"] if not key.startswith("pooler.")]
    if missing:
        raise ValueError(
            f"model.backbone={name!r} lacks {len(missing)} weights, first {sorted(missing)[0]!r}: "
            "they would be random. Use a checkpoint of an encoder."
        )
    head = (
        _tanh_head(name, model, len(missing) == len(report["missing_keys"]), revision)
        if tanh_head
        else nn.Identity()
    )
    model.pooler = None  # what no loss reaches would fail distributed training
    return (
        model.train(),
        tokenizer,
        head,
    )  # from_pretrained hands it over in eval mode, and Lightning would keep that


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Without its report on the pooler that we leave out on purpose and its bars over local files; downloads keep theirs."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    enable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _tanh_head(name: str, model: nn.Module, has_pooler: bool, revision: str | None) -> nn.Module:
    """LaBSE's dense layer and tanh: from the sentence-transformers folder 2_Dense, else the encoder's own pooler."""
    width = model.config.hidden_size
    dense = nn.Linear(width, width)
    for file in ("model.safetensors", "pytorch_model.bin"):
        path = cached_file(
            name,
            f"{TANH_HEAD_FOLDER}/{file}",
            revision=revision,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
        if path:
            weights = (
                load_file(path)
                if file.endswith("safetensors")
                else torch.load(path, weights_only=True)
            )
            dense.load_state_dict(
                {key.removeprefix("linear."): value.float() for key, value in weights.items()}
            )
            return nn.Sequential(dense, nn.Tanh())
    if getattr(model, "pooler", None) is None or not has_pooler:
        raise ValueError(
            f"model.pooling=labse needs a dense layer, and {name!r} has neither {TANH_HEAD_FOLDER}/ nor the weights "
            "of a pooler: use pooling=cls or mean"
        )
    dense.load_state_dict(model.pooler.dense.state_dict())
    return nn.Sequential(dense, nn.Tanh())


@dataclass(frozen=True)
class FromScratch:
    """Recipe of a small BERT with random weights and a byte-pair tokenizer trained on the texts at hand.

    Byte-pair with byte fallback rather than unigram, which splits common words on so little text.
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
        """Folder with the model in Hugging Face form; the same recipe and texts give the same folder."""
        if not texts:
            raise ValueError(
                "model: a backbone from scratch needs the training texts for its tokenizer; name a checkpoint "
                "(model.backbone=PATH) where there are none"
            )
        digest = hashlib.sha256(json.dumps([RECIPE_VERSION, asdict(self)]).encode())
        for text in texts:
            digest.update(text.encode() + b"\n")
        folder = cache / "backbones" / digest.hexdigest()[:32]
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".writing-") as name:
                written = Path(name) / "backbone"
                self._tokenizer(texts).save_pretrained(written)
                with quiet_transformers():
                    self._model().save_pretrained(written)
                try:
                    os.rename(written, folder)
                except OSError:  # another process was faster with the same backbone
                    if not folder.exists():
                        raise
        return folder

    def _model(self) -> BertModel:
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

    def _tokenizer(self, texts: Iterable[str]) -> PreTrainedTokenizerFast:
        tokenizer = Tokenizer(models.BPE(unk_token="[UNK]", byte_fallback=True))
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
        bytes_of_fallback = [f"<0x{byte:02X}>" for byte in range(256)]
        special = SPECIAL_TOKENS + bytes_of_fallback
        # the trainer would take all characters, however small the vocabulary
        tokenizer.train_from_iterator(
            texts,
            trainers.BpeTrainer(
                vocab_size=self.vocab_size,
                limit_alphabet=max(0, self.vocab_size - len(special)),
                special_tokens=special,
                show_progress=False,
            ),
        )
        # the trainer takes bytes as special tokens only; as such a text that spells one out would turn into it
        rules = json.loads(tokenizer.to_str())
        rules["added_tokens"] = [
            token for token in rules["added_tokens"] if token["content"] in SPECIAL_TOKENS
        ]
        tokenizer = Tokenizer.from_str(json.dumps(rules))
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
