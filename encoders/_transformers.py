"""What is read of a model in transformers' layout, whatever its family: its configuration and its tokenizer."""

from typing import Any, TypeVar

from transformers import AutoTokenizer, PretrainedConfig

from encoders._checkpoints import first_line
from encoders._models import Files
from encoders._texts import has_words
from retriever.errors import MissingWeights, WrongCheckpoint

Config = TypeVar("Config", bound=PretrainedConfig)


def configuration(kind: type[Config], files: Files) -> Config:
    """What the folder's config.json says.

    Raises:
        Exception: nearly any, as transformers does on a file that is not its own; a ValueError for another kind.
    """
    table, _ = kind.get_config_dict(files.folder, local_files_only=True)
    if table.get("model_type") != kind.model_type:
        raise ValueError(f"model_type is {table.get('model_type')!r}, wanted {kind.model_type!r}")
    made: Config = kind.from_dict(table)
    return made


def tokenizer(files: Files) -> Any:
    """The model's own.

    Raises:
        MissingWeights, WrongCheckpoint: its files are not in the folder, or not such.
    """
    if files.folder is None or not has_words(files.folder):
        raise MissingWeights(
            f"{files.name} has no tokenizer beside it: put its tokenizer.json there, or pull the model with "
            "reelseek models pull"
        )
    try:
        return AutoTokenizer.from_pretrained(str(files.folder), local_files_only=True)
    except Exception as error:  # transformers raises nearly anything on a file that is not its own
        raise WrongCheckpoint(f"{files.folder}: its tokenizer cannot be read ({first_line(error)})") from error
