"""Datasets on the Hub: a name resolved to a commit, and that commit's rows.

What must stay true: the rows are those of exactly the commit asked for, and a commit's copy that is complete in the
cache serves when the Hub does not. The datasets library falls back to whatever copy of the dataset it has when the Hub
does not answer, whatever its commit, so what it loaded is checked.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinctl.errors import ConfigError, HubError
from twinctl.hub.client import api, cached_sha, offline, repo_info
from twinctl.hub.failures import Target, hub_errors, not_cached, unreachable
from twinctl.wording import first_line, near_match

if TYPE_CHECKING:
    from datasets import Dataset, DatasetBuilder

BATCH = 256


def resolve_dataset(repo_id: str, revision: str | None = None) -> str:
    """The commit that a branch, tag or commit of a dataset repo stands for. Raises HubError."""
    target = Target("dataset", repo_id, revision)
    return cached_sha(target) if offline() else str(repo_info(target).sha)


def dataset_rows(repo_id: str, sha: str, split: str) -> Iterator[dict[str, Any]]:
    """The rows of a split such as `train` or `train[:10000]` at a commit, all downloaded before the first is given.

    Raises HubError, and ConfigError for a split that is not there or rows that cannot be read.
    """
    target = Target("dataset", repo_id, sha)
    builder = _builder(target)
    splits = _splits(builder)  # an unknown one is refused before gigabytes are downloaded for it
    unknown = [name for name in re.sub(r"\[[^]]*\]", "", split).split("+") if name.strip() not in splits]
    if splits and unknown:
        raise ConfigError(f'The dataset {repo_id} has no split "{unknown[0]}".', _offer(builder, unknown[0]))
    _prepare(builder, target)
    try:
        dataset = builder.as_dataset(split=split)
    except ValueError as error:  # its grammar is the library's: train[:10%], train+test, ...
        raise ConfigError(f'"{split}" is not a split of {repo_id}.', _offer(builder)) from error
    return _rows(dataset)


def _rows(dataset: Dataset) -> Iterator[dict[str, Any]]:
    """One by one from batches, which the library decodes ten times as fast as single rows."""
    for batch in dataset.iter(BATCH):
        for values in zip(*batch.values(), strict=True):
            yield dict(zip(batch, values, strict=True))


def _builder(target: Target) -> DatasetBuilder:
    """The library's reader of the dataset: of the Hub's, or of the cached copy when the Hub does not give it."""
    try:
        if offline():
            raise not_cached(target)
        repo_info(target)
        return _hub_builder(target)
    except HubError:
        builder = _cached_builder(target)
        if builder is None:
            raise
        return builder


def _cached_builder(target: Target) -> DatasetBuilder | None:
    """The reader of the commit's copy, if it is complete here."""
    from datasets import config
    from datasets.naming import camelcase_to_snakecase
    from datasets.packaged_modules.cache.cache import Cache

    owner, _, name = target.repo_id.rpartition("/")
    folder = Path(config.HF_DATASETS_CACHE, f"{owner}___{camelcase_to_snakecase(name)}")
    # <subset>/<version>/<commit>; the library asks for the default subset by no name, and so do we.
    copies = [info.parent for info in folder.glob(f"*/*/{target.revision}/dataset_info.json")]
    if len(copies) != 1:
        return None
    _quiet()
    subset, version, commit = copies[0].parts[-3:]
    return Cache(repo_id=target.repo_id, dataset_name=name, config_name=subset, version=version, hash=commit)


def _hub_builder(target: Target) -> DatasetBuilder:
    """The reader of what the Hub has; only its card is downloaded yet."""
    from datasets import load_dataset_builder
    from datasets.data_files import EmptyDatasetError
    from datasets.exceptions import DataFilesNotFoundError

    api()  # sets the time limits, which datasets' requests go under as well
    _quiet()
    with hub_errors(target):
        try:
            # The prefix keeps a folder of that name in the working directory from being taken for the dataset.
            builder = load_dataset_builder(f"hf://datasets/{target.repo_id}", revision=target.revision)
        except (DataFilesNotFoundError, EmptyDatasetError) as error:
            raise ConfigError(
                f"The dataset {target.repo_id} has no files that can be read as rows.",
                f"Rows come from JSON Lines, JSON, CSV, Parquet or text files: see {target.page()}.",
            ) from error
        except ValueError as error:
            if "Config name is missing" not in str(error):
                raise
            raise ConfigError(
                f"The dataset {target.repo_id} has several subsets and no default one.",
                f"Download the files you want from {target.page()} and give their path.",
            ) from error
    if builder.hash != target.revision:
        raise unreachable(target)
    return builder


def _quiet() -> None:
    """Keep the library's warnings, and its progress where nobody watches, off the screen."""
    from datasets import disable_progress_bars
    from datasets.utils.logging import set_verbosity_error

    set_verbosity_error()
    if not sys.stderr.isatty():
        disable_progress_bars()


def _splits(builder: DatasetBuilder) -> list[str]:
    return [str(name) for name in builder.info.splits or builder.config.data_files or ()]


def _offer(builder: DatasetBuilder, wanted: str = "") -> str:
    near = near_match(wanted.strip(), _splits(builder))
    offer = f"Did you mean “{near}”? " if near else ""
    return f"{offer}Splits: {', '.join(_splits(builder))}. A part of one is written like train[:1000]."


def _prepare(builder: DatasetBuilder, target: Target) -> None:
    """Download the files and turn them into Arrow tables in the library's cache."""
    from datasets.exceptions import DatasetGenerationError

    with hub_errors(target):
        try:
            builder.download_and_prepare()
        except DatasetGenerationError as error:
            cause = error.__cause__ or error
            if isinstance(cause, OSError):  # a full disk, not a bad row
                raise cause from error
            raise ConfigError(
                f"The dataset {target.repo_id} has rows that cannot be read: {first_line(cause)}",
                "Ask for an earlier commit of it, or fix a local copy and give its path.",
            ) from error
