"""Datasets of the Hugging Face library are read as they are: from its files, its cache, and never by running code."""

from __future__ import annotations

import io
import json
import logging
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImage

import tlbench.datasets  # noqa: F401 - registers the families
from tlbench.datasets import base, huggingface_counts
from tlbench.datasets.huggingface import opened
from tlbench.registry import DATASETS
from tlbench.types import TlbenchError

datasets = pytest.importorskip("datasets")

COLOURS = ("amber", "blue", "crimson")


@pytest.fixture(autouse=True)
def apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    datasets.disable_progress_bars()
    monkeypatch.setattr(DATASETS, "_items", dict(DATASETS._items))  # files of one name in other tests are others
    monkeypatch.setattr(DATASETS, "_names", dict(DATASETS._names))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hub cache"))


def texts(count: int, start: int = 0) -> list[str]:
    return [f"number {i} of the {COLOURS[i % 3]} things" for i in range(start, start + count)]


def table(count: int, start: int = 0, **columns: Any) -> Any:
    return datasets.Dataset.from_dict({"text": texts(count, start), "label": [i % 3 for i in range(count)], **columns})


def load(reference: str, root: Path) -> tuple[base.Loaded, np.ndarray]:
    loaded = base.load(reference, root / "root")
    return loaded, base.sealed_labels(loaded)


def refused(reference: str, root: Path) -> str:
    with pytest.raises(TlbenchError) as error:
        load(reference, root)
    return str(error.value)


def test_a_saved_dictionary_keeps_splits_and_class_names(tmp_path: Path) -> None:
    named = datasets.ClassLabel(names=[*COLOURS, "never seen"])
    parts = {"train": table(30), "validation": table(6, 100), "test": table(9, 200)}
    datasets.DatasetDict(parts).cast_column("label", named).save_to_disk(str(tmp_path / "things"))
    loaded, test_y = load(f"hf:{tmp_path / 'things'}", tmp_path)
    assert loaded.card.name == "hf:things"
    assert str(tmp_path) not in loaded.card.name + loaded.card.source + loaded.card.summary
    assert loaded.class_names == COLOURS
    assert sorted(loaded.pool_x) == sorted(texts(30) + texts(6, 100))
    assert (loaded.test_x.tolist(), test_y.tolist()) == (texts(9, 200), [i % 3 for i in range(9)])
    assert (loaded.excluded, loaded.card.classes) == ({}, 3)


def test_hidden_test_labels_make_the_validation_split_the_test(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parts = {"train": table(30), "validation": table(6, 100), "test": table(9, 200)}
    parts["test"] = parts["test"].remove_columns("label").add_column("label", [-1] * 9)
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "glue"))
    with caplog.at_level(logging.WARNING, "tlbench"):
        loaded, _ = load(f"hf:{tmp_path / 'glue'}", tmp_path)
    assert loaded.test_x.tolist() == texts(6, 100)
    assert loaded.excluded == {"in a split whose labels are hidden": 9}
    assert "9 examples are left out" in caplog.text


def test_minus_one_is_a_class_where_other_labels_are_seen(tmp_path: Path) -> None:
    table(30).remove_columns("label").add_column("label", [-1, 1] * 15).to_parquet(str(tmp_path / "signs.parquet"))
    loaded, _ = load(f"hf:{tmp_path / 'signs.parquet'}", tmp_path)
    assert loaded.class_names == ("-1", "1")
    assert len(loaded.pool_x) + len(loaded.test_x) == 30


@pytest.mark.parametrize("ending", ["parquet", "csv", "json", "jsonl", "tsv"])
def test_one_file_is_split_by_hash_whatever_its_format(tmp_path: Path, ending: str) -> None:
    whole, file = table(60, label_text=[COLOURS[i % 3] for i in range(60)]), tmp_path / f"things.{ending}"
    if ending == "parquet":
        whole.to_parquet(str(file))
    elif ending in ("csv", "tsv"):
        whole.to_csv(str(file), index=False, sep="\t" if ending == "tsv" else ",")
    else:
        whole.to_json(str(file), lines=ending == "jsonl")
    loaded, test_y = load(f"hf:{file}", tmp_path)
    assert loaded.class_names == COLOURS  # of the column label_text
    assert np.bincount(test_y).tolist() == [4, 4, 4]
    assert sorted([*loaded.pool_x, *loaded.test_x]) == sorted(texts(60))
    again = opened(f"hf:{file}")[1]
    made = again.make(tmp_path / "another root")
    assert base.fingerprint(made) == base.fingerprint(opened(f"hf:{file}")[1].make(tmp_path / "third"))


def test_a_directory_of_tables_is_read_by_the_names_of_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "pieces"
    folder.mkdir()
    for name, part in {"train": table(30), "test": table(9, 200)}.items():
        part.to_json(str(folder / f"{name}.jsonl"), lines=True)
    loaded, _ = load(f"hf:{folder}", tmp_path)
    assert (len(loaded.pool_x), loaded.test_x.tolist()) == (30, texts(9, 200))
    assert loaded.class_names == ("0", "1", "2")


def test_what_cannot_be_used_is_counted(tmp_path: Path) -> None:
    words: list[str | None] = [*texts(40), "", "  \n", None, "a text without a label", "another one", "seen once"]
    labels: list[float | None] = [i % 2 for i in range(40)] + [0, 1, 0, float("nan"), None, 7]
    whole = datasets.Dataset.from_dict({"sentence": words, "intent": np.array(labels, float)})
    whole.to_parquet(str(tmp_path / "holes.parquet"))
    loaded, test_y = load(f"hf:{tmp_path / 'holes.parquet'}", tmp_path)
    assert loaded.excluded == {"empty text": 3, "no label": 2, "label seen once": 1}
    assert (len(loaded.pool_x) + len(test_y), loaded.class_names) == (40, ("0", "1"))


def test_a_csv_keeps_texts_that_look_like_nothing(tmp_path: Path) -> None:
    lines = [
        "text,label",
        *(f"{text},x" for text in texts(10)),
        *(f"{text},y" for text in texts(10, 50)),
        "NA,y",
        "null,x",
    ]
    (tmp_path / "odd.csv").write_text("\n".join([*lines, ",x", "no label here,"]) + "\n")
    loaded, _ = load(f"hf:{tmp_path / 'odd.csv'}", tmp_path)
    assert {"NA", "null"} <= {*loaded.pool_x, *loaded.test_x}
    assert loaded.excluded == {"empty text": 1, "no label": 1}


def test_a_text_of_a_hundred_thousand_words_passes(tmp_path: Path) -> None:
    long = "word " * 100_000
    datasets.Dataset.from_dict({"text": [long, *texts(11)], "label": ["a", "b"] * 6}).to_parquet(
        str(tmp_path / "l.parquet")
    )
    loaded, _ = load(f"hf:{tmp_path / 'l.parquet'}", tmp_path)
    assert max(map(len, [*loaded.pool_x, *loaded.test_x])) == len(long)


def test_columns_are_guessed_and_several_candidates_are_an_error(tmp_path: Path) -> None:
    columns = {
        "label-coarse": ["a", "b", "c"] * 10,
        "label-fine": ["p", "q"] * 15,
        "review": texts(30),
        "title": ["t"] * 30,
    }
    datasets.Dataset.from_dict(columns).to_parquet(str(tmp_path / "trec.parquet"))
    said = refused(f"hf:{tmp_path / 'trec.parquet'}", tmp_path)
    assert "'review', 'title'" in said
    assert "write ?text=NAME" in said
    said = refused(f"hf:{tmp_path / 'trec.parquet'}?text=review", tmp_path)
    assert "'label-coarse', 'label-fine'" in said
    loaded, _ = load(f"hf:{tmp_path / 'trec.parquet'}?text=review&label=label-coarse", tmp_path)
    assert loaded.class_names == ("a", "b", "c")
    assert loaded.card.name == "hf:trec.parquet?label=label-coarse&text=review"
    assert "did you mean 'review'" in refused(f"hf:{tmp_path / 'trec.parquet'}?text=revew", tmp_path)


@pytest.mark.parametrize(
    ("columns", "options", "expected"),
    [
        ({"text": texts(6), "label": [[0, 1]] * 6}, "", "holds a list"),
        ({"text": texts(6), "label": [0.5, 1.5] * 3}, "", "holds a fraction"),
        ({"text": texts(6)}, "", "the label column has none of the usual names"),
        ({"text": [1, 2] * 3, "label": [0, 1] * 3}, "", "holds int64, not texts"),
        ({"text": texts(6), "label": [0, 1] * 3}, "?image=text", r"not images; write \?text="),
        ({"text": texts(6), "label": [0, 1] * 3}, "?test=test", "unknown split 'test'"),
        ({"text": texts(6), "label": [0, 1] * 3}, "?train=train&test=train", "cannot be for training and testing"),
        ({"text": texts(6), "label": [0, 1] * 3}, "?revision=abc", "has no revision"),
        ({"text": texts(6), "label": [0, 1] * 3}, "?lable=label", "unknown option 'lable'; did you mean 'label'"),
        ({"text": texts(6), "label": [None] * 6}, "", "no split has a label"),
        ({"text": [""] * 6, "label": [0, 1] * 3}, "", r"no example can be used \(empty text: 6\)"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, columns: dict[str, Any], options: str, expected: str) -> None:
    datasets.Dataset.from_dict(columns).to_parquet(str(tmp_path / "wrong.parquet"))
    with pytest.raises(TlbenchError, match=expected):
        load(f"hf:{tmp_path / 'wrong.parquet'}{options}", tmp_path)


def test_other_splits_are_left_out_and_counted(tmp_path: Path) -> None:
    parts = {"train": table(30), "extra": table(12, 400), "test": table(9, 200)}
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "more"))
    loaded, _ = load(f"hf:{tmp_path / 'more'}", tmp_path)
    assert (len(loaded.pool_x), loaded.excluded) == (30, {"in a split that is not used": 12})
    loaded, _ = load(f"hf:{tmp_path / 'more'}?train=train,extra", tmp_path)
    assert (len(loaded.pool_x), loaded.excluded) == (42, {})
    datasets.DatasetDict({"a": table(9), "b": table(9, 100)}).save_to_disk(str(tmp_path / "unclear"))
    assert "write ?train=A&test=B" in refused(f"hf:{tmp_path / 'unclear'}", tmp_path)


def test_groups_stay_on_one_side(tmp_path: Path) -> None:
    table(60, author=[f"author {i // 6}" for i in range(60)]).to_parquet(str(tmp_path / "authors.parquet"))
    loaded, test_y = load(f"hf:{tmp_path / 'authors.parquet'}?group=author", tmp_path)
    author = {text: i // 6 for i, text in enumerate(texts(60))}
    assert loaded.groups is not None
    assert len(test_y) == 12
    assert not {author[text] for text in loaded.pool_x} & {author[text] for text in loaded.test_x}


def pictures(folder: Path) -> None:
    encoded = []
    for i in range(24):
        file = io.BytesIO()
        noise = np.random.Generator(np.random.PCG64(i)).integers(0, 256, (12, 12, 3)).astype(np.uint8)
        PILImage.fromarray(noise).save(file, "PNG")
        encoded.append({"bytes": file.getvalue() if i else b"this is not an image", "path": None})
    rows = {"image": encoded, "label": [i % 2 for i in range(24)]}
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    datasets.Dataset.from_dict(rows, features=features).to_parquet(str(folder / "pets.parquet"))


def test_images_are_decoded_once_and_bad_ones_counted(tmp_path: Path) -> None:
    pictures(tmp_path)
    loaded, test_y = load(f"hf:{tmp_path / 'pets.parquet'}?image=image", tmp_path)
    assert loaded.card.modality == "image"
    assert loaded.pool_x.shape[1:] == (12, 12, 3)
    assert len(loaded.pool_x) + len(test_y) == 23
    assert loaded.excluded == {"file cannot be decoded as an image": 1}
    assert loaded.class_names == ("cat", "dog")
    assert "write ?image=image" in refused(f"hf:{tmp_path / 'pets.parquet'}", tmp_path)


def test_the_state_follows_the_files_and_opening_reads_none(tmp_path: Path) -> None:
    file = tmp_path / "things.jsonl"
    file.write_text("this is not JSON\n")
    _, dataset = opened(f"hf:{file}")
    before = dataset.state()
    assert before == opened(f"hf:{file}")[1].state()
    file.write_text("neither is this, and it is longer\n")
    assert dataset.state() != before
    assert "things.jsonl cannot be read" in refused(f"hf:{file}", tmp_path)


@pytest.mark.parametrize(
    ("reference", "name", "source"),
    [
        ("hf:ag_news", "hf:ag_news", "hf.co/datasets/ag_news"),
        ("hf:SetFit/sst2?revision=abc", "hf:SetFit/sst2?revision=abc", "hf.co/datasets/SetFit/sst2 at revision abc"),
        ("hf:nyu-mll/glue/cola", "hf:nyu-mll/glue/cola", "hf.co/datasets/nyu-mll/glue"),
    ],
)
def test_a_repository_is_opened_without_a_network(reference: str, name: str, source: str) -> None:
    found, dataset = opened(reference)
    assert (found, dataset.card.name, dataset.card.source) == (name, name, source)
    assert dataset.state()


def test_a_path_that_is_not_there_is_no_repository(tmp_path: Path) -> None:
    (tmp_path / "things.csv").write_text("text,label\n")
    with pytest.raises(TlbenchError, match=r"no such file or directory; did you mean '.*things\.csv'"):
        DATASETS[f"hf:{tmp_path / 'thing.csv'}"]
    (tmp_path / "things.xlsx").write_text("")
    with pytest.raises(TlbenchError, match=r"is none of \.parquet, \.csv"):
        DATASETS[f"hf:{tmp_path / 'things.xlsx'}"]


def test_without_a_network_the_next_step_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("network is unreachable")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    start = time.monotonic()
    said = refused("hf:SetFit/sst2", tmp_path)
    assert time.monotonic() - start < 5
    assert "tlbench fetch SUITE" in said
    assert "HF_HOME" in said


def cached(cache: Path, commit: str) -> None:
    """Puts a dataset where the library keeps what it downloaded at a commit."""
    source = cache.parent / "source.parquet"
    table(30).to_parquet(str(source))
    built = datasets.load_dataset("parquet", data_files={"train": str(source)}, cache_dir=str(cache.parent / "built"))
    arrow = Path(built["train"].cache_files[0]["filename"])
    home = cache / "someone___things" / "default" / "0.0.0" / commit
    home.mkdir(parents=True)
    (home / "things-train.arrow").write_bytes(arrow.read_bytes())
    info = json.loads((arrow.parent / "dataset_info.json").read_text())
    info |= {"dataset_name": "things", "config_name": "default", "version": {"version_str": "0.0.0"}}
    (home / "dataset_info.json").write_text(json.dumps(info))


def test_offline_the_cache_is_read_and_another_commit_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cached(tmp_path / "hub cache", "a" * 40)
    with caplog.at_level(logging.WARNING, "tlbench"):
        loaded, test_y = load("hf:someone/things", tmp_path)
    assert len(loaded.pool_x) + len(test_y) == 30
    assert f"comes from the cache (commit {'a' * 40})" in caplog.text
    assert loaded.facts.origin == f"commit {'a' * 40}"
    pinned, _ = load(f"hf:someone/things?revision={'a' * 40}", tmp_path)
    assert pinned.fingerprint == loaded.fingerprint
    assert f"commit {'a' * 40} and not {'b' * 40}" in refused(f"hf:someone/things?revision={'b' * 40}", tmp_path)


def test_a_repository_that_changed_its_counts_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached(tmp_path / "hub cache", "a" * 40)
    published = huggingface_counts.Published({"train": 31}, "a paper")
    monkeypatch.setitem(huggingface_counts.COUNTS, "someone/things", published)
    assert "has 30 rows; 31 were published (a paper)" in refused("hf:someone/things", tmp_path)
    load(f"hf:someone/things?revision={'a' * 40}", tmp_path)


def test_a_program_in_a_directory_is_not_run(tmp_path: Path) -> None:
    folder = tmp_path / "scripted"
    folder.mkdir()
    (folder / "scripted.py").write_text("raise SystemExit('run')\n")
    said = refused(f"hf:{folder}", tmp_path)
    assert "which is not run" in said
