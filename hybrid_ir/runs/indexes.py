"""Indexes with the encoders that made them: what a card keeps of one, and loading both."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from hybrid_ir.index.card import read_index_card
from hybrid_ir.index.opened import PassageIndex
from hybrid_ir.runs.encoders import EncoderSettings, LoadedEncoder, load_any_encoder

# Settings that belong to a machine, and not to the model.
OF_THE_MACHINE = ("device", "config_folders", "cache_dir")


def describe_index_model(
    loaded: LoadedEncoder, place: str, settings: EncoderSettings
) -> dict[str, Any]:
    """Returns what the card of an index keeps to load its encoder again.

    Args:
        loaded: the encoder.
        place: what the user called it.
        settings: how it was loaded.
    """
    if Path(place).expanduser().exists():
        place = str(Path(place).expanduser().absolute())
    given = {}
    default = EncoderSettings()
    for setting in fields(EncoderSettings):
        value = getattr(settings, setting.name)
        if setting.name not in OF_THE_MACHINE and value != getattr(default, setting.name):
            given[setting.name] = value
    return {"model": loaded.model, "training": loaded.training, "place": place, "settings": given}


def load_index(
    folder: str | Path,
    *,
    model: str | Path | None = None,
    method: str = "auto",
    verify: bool = True,
    effort: int | None = None,
    rescore_multiplier: int | None = None,
    **settings: Any,
) -> PassageIndex:
    """Opens an index that `hybrid-ir index` has made, together with its encoder.

    Args:
        folder: of the index.
        model: where the encoder is, if it is not at the place that the card names; it reads texts
            as the card says.
        method: how it is searched: by FAISS or by codes if it has them (`auto`), or `exact`,
            `quantised` or `faiss`.
        verify: whether the checksums of all files are compared, which reads all of them.
        effort: candidates that an HNSW graph keeps, or inverted lists that are searched.
        rescore_multiplier: candidates for each result of a search by codes.
        settings: of the encoder, such as `device`, instead of those of the card; see
            `EncoderSettings`.

    Raises:
        ValueError: the folder is no index or damaged, its model is not there, or the model gives
            other vectors than the one that made it.

    Example:
        >>> from hybrid_ir import load_index
        >>> index = load_index(index_folder)
        >>> [hits] = index.search(["Where is Kabul?"], k=2)
        >>> [hit.rank for hit in hits]
        [1, 2]
    """
    place = Path(folder).expanduser()
    card = read_index_card(place)
    loaded = _load_encoder_of_index(place, card, model, settings)
    return PassageIndex(place, loaded.encoder, method, verify, effort, rescore_multiplier)


def _load_encoder_of_index(
    folder: Path, card: dict[str, Any], model: str | Path | None, settings: dict[str, Any]
) -> LoadedEncoder:
    """Loads the encoder that a card names, or the same one at another place.

    It reads texts as it did when the index was made, but for settings that are given.
    """
    chosen = replace(EncoderSettings(**card["settings"]), **settings)
    if model is not None:
        if "revision" not in settings:
            chosen = replace(chosen, revision=None)  # of the place on the card
        return load_any_encoder(str(model), chosen)
    try:
        return load_any_encoder(card["place"], chosen)
    except (ValueError, OSError) as error:
        raise ValueError(
            f"{folder} was made with the model {card['model']['name']} at {card['place']}, which "
            f"cannot be loaded ({error}): say where it is with model="
        ) from error
