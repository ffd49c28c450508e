"""The Hugging Face hub (extra `hub`): rows of its data sets in, exported folders out."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from evollab.data.octets import FORMATS, has_data_name
from evollab.data.rows import Row, excerpt
from evollab.records import EvolError

INSTALL = "pip install 'evollab[hub]'"
_PART = r"[A-Za-z0-9][\w.-]{0,95}"
_ID = re.compile(rf"({_PART}/{_PART})(?:/({_PART}))?", re.ASCII)
_SAVED = ("dataset_info.json", "dataset_dict.json")
TOKEN = "HF_TOKEN"  # noqa: S105 - the variable's name


def is_id(name: str) -> bool:
    """Whether `name` can only be a data set on the hub: ORG/NAME, ORG/NAME:SPLIT or, of a data set with
    several configurations, ORG/NAME/CONFIG:SPLIT; and neither a file here nor named like one."""
    repository, _, split = name.partition(":")
    found = _ID.fullmatch(repository)
    if not found or (found[2] and not split) or (split and not re.fullmatch(r"\w[\w.-]*", split, re.ASCII)):
        return False
    path = Path(name)
    return not (path.exists() or path.parent.exists() or has_data_name(path))


def rows(id: str) -> Iterator[Row]:
    """Rows of a data set on the hub as they arrive, split "train" where none is named; nothing that
    the data set brings along is run.

    Raises EvolError without the extra, for a data set or split that does not exist, and when the
    hub can't be reached.
    """
    datasets = _datasets(f"{id}: no such file, and to read it as a data set's id")
    place, _, split = id.partition(":")
    owner, name, *config = place.split("/")
    more = {"name": config[0]} if config else {}
    try:
        found = datasets.load_dataset(f"{owner}/{name}", **more, split=split or "train", streaming=True)
        yield from _numbered(found)
    except (OSError, ValueError) as error:
        raise EvolError(
            f"{id}: the data set can't be read ({_said(error)})",
            "check the name on the hub, name a split as ORG/NAME:SPLIT, and set HF_TOKEN if it is private",
        ) from None


def saved_rows(folder: Path) -> Iterator[Row]:
    """Rows of a folder that `datasets` saved (save_to_disk), of its split "train" where it has several.

    Raises EvolError for any other folder, and without the extra.
    """
    if not any((folder / name).is_file() for name in _SAVED):
        data = sorted(path.name for path in folder.iterdir() if path.is_file() and has_data_name(path))
        raise EvolError(
            f"{folder}: a folder, and none that datasets saved; expected a file ({FORMATS})",
            f"name one of its files: {', '.join(data[:5])}" if data else "",
        )
    datasets = _datasets(f"{folder}: to read a saved data set")
    try:
        found = datasets.load_from_disk(str(folder))
    except (OSError, ValueError) as error:
        raise EvolError(f"{folder}: the saved data set can't be read ({_said(error)})") from None
    if isinstance(found, dict):
        splits = sorted(found)
        if "train" not in found and len(splits) != 1:
            raise EvolError(
                f"{folder}: the splits are {', '.join(splits)}; expected train, or only one",
                f"name the folder of one: {folder / splits[0]}",
            )
        found = found["train" if "train" in found else splits[0]]
    yield from _numbered(found)


def _numbered(found: Iterable[dict[str, Any]]) -> Iterator[Row]:
    for number, fields in zip(count(1), found):
        yield Row(number, fields)


def _datasets(purpose: str) -> Any:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import datasets
    except ImportError:
        raise EvolError(f"{purpose}, the package datasets is needed and not installed", INSTALL) from None
    return datasets


def push(folder: Path, repository: str, *, files: Iterable[str], public: bool = False) -> str:
    """Upload `files` of an exported folder as the data set `repository` (ORG/NAME); its address.

    A data set that does not exist yet is made, private unless `public`. The token is taken from the
    environment variable HF_TOKEN alone and never shown. Raises EvolError without the extra, without
    a token, for a name that is none, and with the hub's own words when it refuses.
    """
    if repository.count("/") > 1 or not _ID.fullmatch(repository):
        raise EvolError(f"--push {excerpt(repository, 60)}: expected ORG/NAME")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import huggingface_hub.errors
    except ImportError:
        raise EvolError("--push: the package huggingface_hub is needed and not installed", INSTALL) from None
    token = os.environ.get(TOKEN, "")
    if not token:
        raise EvolError(
            f"--push: no token in the environment variable {TOKEN}",
            f"make one that may write at huggingface.co/settings/tokens, then: export {TOKEN}=...",
        )
    hub = huggingface_hub.HfApi(token=token)
    try:
        hub.create_repo(repository, repo_type="dataset", private=not public, exist_ok=True)
        hub.upload_folder(
            repo_id=repository,
            repo_type="dataset",
            folder_path=str(folder),
            allow_patterns=sorted(files),
            commit_message="evol export",
        )
    except (OSError, ValueError, huggingface_hub.errors.HTTPError) as error:  # the last: no connection
        said = _said(error, hide=token)
        raise EvolError(f"--push {repository}: the hub refused ({said})", "what was exported is kept") from None
    return f"https://huggingface.co/datasets/{repository}"


def _said(error: Exception, *, hide: str = "") -> str:
    """The first line of an error, without a secret in it."""
    text = str(error).replace(hide, "***") if hide else str(error)
    lines = text.strip().splitlines()
    return excerpt(lines[0] if lines else type(error).__name__, 300)
