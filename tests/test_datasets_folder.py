"""Your own files become a dataset with no code: every file is used or counted, and what is wrong is said by name."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlbench.datasets import base, folder_listing, folder_table, holdout, pictures
from tlbench.datasets.folder import opened
from tlbench.registry import DATASETS, Registry
from tlbench.types import TlbenchError


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Opens a reference in a registry of its own and loads it."""
    registry: Registry = Registry("dataset", "datasets")
    registry.families = DATASETS.families
    monkeypatch.setattr(base, "DATASETS", registry)
    return lambda reference: base.load(registry.name(reference), tmp_path / "root")


def picture(path: Path, seed: int, *, size: tuple[int, int] = (40, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.Generator(np.random.PCG64(seed))
    coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3)).astype(np.uint8))
    coarse.resize(size, Image.Resampling.BICUBIC).save(path)
    return path


def class_folders(place: Path, *, each: int = 10, start: int = 0, names: tuple[str, ...] = ("cat", "dog")) -> Path:
    for c, name in enumerate(names):
        for i in range(each):
            picture(place / name / f"{i}.png", start + 100 * c + i)
    return place


def table(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_one_folder_a_class_is_a_dataset_and_a_fifth_is_for_testing(load, tmp_path: Path) -> None:
    data = load(f"folder:{class_folders(tmp_path / 'my_images')}?size=32")
    assert data.class_names == ("cat", "dog")
    assert data.card.name == "folder:my_images?size=32"
    assert data.pool_x.shape == (16, 32, 32, 3)
    assert np.bincount(data.pool_y).tolist() == [8, 8]
    assert np.bincount(base.sealed_labels(data)).tolist() == [2, 2]
    assert data.excluded == {}
    assert data.card.classes == 2


def test_the_choice_of_test_images_survives_renaming_and_moving(load, tmp_path: Path) -> None:
    first = load(f"folder:{class_folders(tmp_path / 'first')}?size=32")
    for path in sorted((tmp_path / "first").rglob("*.png")):
        target = tmp_path / "second" / path.parent.name / f"{99 - int(path.stem)}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    second = load(f"folder:{tmp_path / 'second'}?size=32")
    assert {x.tobytes() for x in first.test_x} == {x.tobytes() for x in second.test_x}


def test_train_val_and_test_folders_are_kept_apart(load, tmp_path: Path) -> None:
    home = tmp_path / "split"
    for at, part in enumerate(("train", "val", "test")):
        class_folders(home / part, each=3 + at, start=1000 * at)
    picture(home / "unlabelled" / "x.png", 7)
    data = load(f"folder:{home}?size=16")
    assert (len(data.pool_x), len(data.test_x)) == (2 * (3 + 4), 2 * 5)
    assert data.excluded == {folder_listing.UNUSED_FOLDER: 1}


def test_odd_files_are_left_out_and_counted_by_reason(load, tmp_path: Path, caplog) -> None:
    home = class_folders(tmp_path / "odd")
    whole = picture(home / "cat" / "whole.jpg", 50, size=(200, 200)).read_bytes()
    (home / "cat" / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (home / "cat" / "empty.png").touch()
    (home / "cat" / "text.jpg").write_text("not an image")
    (home / "dog" / "notes.txt").write_text("nothing")
    (home / "dog" / ".hidden.png").write_text("never looked at")
    (home / ".git").mkdir()
    picture(home / "loose.png", 51)
    picture(home / "single" / "only.png", 52)
    (home / "nothing").mkdir()
    with caplog.at_level(logging.WARNING, "tlbench"):
        data = load(f"folder:{home}?size=32")
    assert data.excluded == {
        pictures.NOT_AN_IMAGE: 2,
        pictures.DAMAGED: 1,
        folder_listing.NOT_BY_NAME: 1,
        folder_listing.OUTSIDE: 1,
        holdout.SEEN_ONCE: 1,
    }
    assert len(data.pool_x) + len(data.test_x) + data.duplicates_removed == 21
    assert data.class_names == ("cat", "dog")
    assert "truncated.jpg" in caplog.text
    assert "nothing has no image" in caplog.text


def test_links_are_followed_and_may_lead_round(load, tmp_path: Path) -> None:
    home = class_folders(tmp_path / "linked", each=6)
    class_folders(tmp_path / "elsewhere", each=5, start=500, names=("more",))
    (home / "cat" / "more").symlink_to(tmp_path / "elsewhere" / "more")
    (home / "cat" / "twice").symlink_to(tmp_path / "elsewhere" / "more")
    (home / "cat" / "round").symlink_to(home / "cat")
    (home / "bird").symlink_to(class_folders(tmp_path / "birds", each=4, start=800, names=("x",)) / "x")
    found = folder_listing.listed(home)
    assert {name: found.labels.count(name) for name in found.labels} == {"bird": 4, "cat": 11, "dog": 6}


def test_a_folder_that_went_away_is_named(load, tmp_path: Path) -> None:
    home = class_folders(tmp_path / "going", each=1)
    dataset = opened(f"folder:{home}")[1]
    home.rename(tmp_path / "gone")
    with pytest.raises(TlbenchError, match="going cannot be read: .*; see to its permissions"):
        dataset.state()


def test_a_changed_file_is_seen_and_an_unchanged_folder_is_not_decoded_again(load, tmp_path: Path, monkeypatch) -> None:
    home = class_folders(tmp_path / "changing")
    first = load(f"folder:{home}")
    with monkeypatch.context() as patched:
        patched.setattr(base, "decoded", None)
        assert load(f"folder:{home}").folder == first.folder
    picture(home / "cat" / "new.png", 77)
    assert load(f"folder:{home}").fingerprint != first.fingerprint


def test_a_table_names_images_with_labels_splits_and_groups(load, tmp_path: Path) -> None:
    rows = ["Image_Path;Class;Subset;group"]
    for i in range(12):
        picture(tmp_path / "t" / "files" / f"{i}.png", i)
        rows.append(f"files/{i}.png; {10 if i % 2 else 9} ;{'test' if i < 4 else 'train'};g{i // 3}")
    data = load(f"folder:{table(tmp_path / 't' / 'labels.csv', chr(10).join(rows))}")
    assert data.card.name == "folder:labels.csv"
    assert data.class_names == ("9", "10")
    assert (len(data.pool_x), len(data.test_x)) == (8, 4)
    assert data.groups is not None
    assert data.groups.tolist() == ["g1", "g1", "g2", "g2", "g2", "g3", "g3", "g3"]
    assert base.sealed_labels(data).tolist() == [0, 1, 0, 1]


def test_a_table_counts_missing_files_and_contradictions(load, tmp_path: Path) -> None:
    home = class_folders(tmp_path / "t")
    files = [f"{path.relative_to(home)},{path.parent.name}" for path in sorted(home.rglob("*.png"))]
    more = ["gone.png,cat", "cat/0.png,dog", "cat/1.png,cat", "dog/3.png,", ",dog"]
    data = load(f"folder:{table(home / 'l.csv', chr(10).join(['file,label', *files, *more]))}")
    assert data.excluded == {
        pictures.MISSING: 2,
        folder_table.CONTRADICTED: 2,
        folder_table.TWICE: 1,
        folder_table.EMPTY_LABEL: 1,
    }


def test_a_table_of_texts_is_a_text_dataset(load, tmp_path: Path) -> None:
    rows = [f'{c}\t"text {c}, {i}\nsecond line"' for c in ("good", "bad") for i in range(20)]
    long = "word " * 100_000
    lines = ["label\tsentence", *rows, "good\t ", f"bad\t{long}", "once\tseen"]
    data = load(f"folder:{table(tmp_path / 'reviews.tsv', chr(10).join(lines))}")
    assert data.card.modality == "text"
    assert data.excluded == {folder_table.EMPTY_TEXT: 1, holdout.SEEN_ONCE: 1}
    assert len(data.pool_x) + len(data.test_x) == 41
    assert any(len(text) == len(long) for text in [*data.pool_x, *data.test_x])
    assert base.read_inputs(data.folder, "test").tolist() == data.test_x.tolist()


@pytest.mark.parametrize("place", [1, 2])
def test_a_text_with_an_unquoted_comma_is_never_cut_in_silence(tmp_path: Path, place: int) -> None:
    lines = ["label,text", "good,one", "bad,two"]
    lines[place] += ", and more"
    with pytest.raises(TlbenchError, match="more cells than its first line|cannot be read: .*saw 3"):
        folder_table.listed(table(tmp_path / "t.csv", "\n".join(lines)), {})


def test_groups_stay_together_when_the_test_part_is_chosen(load, tmp_path: Path) -> None:
    rows = [f"{c},text {c} {g} {i},patient {g}" for g in range(30) for c in "ab" for i in range(3)]
    path = table(tmp_path / "visits.csv", "\n".join(["label,text,group", *rows]))
    data = load(f"folder:{path}")
    tested = {text.split()[2] for text in data.test_x}
    assert data.groups is not None
    assert not tested & {group.split()[1] for group in data.groups}
    assert 0.15 <= len(data.test_x) / 180 <= 0.25
    assert sorted(np.bincount(base.sealed_labels(data)).tolist())[0] > 10


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("my_imagse", "there is nothing at .*my_imagse; did you mean '.*my_images'"),
        ("my_images/cat/0.png", "0.png is a file; name a folder"),
        ("my_images?sise=32", "unknown option 'sise'; did you mean 'size'"),
        ("my_images?size=big", "size=big; give a side in pixels"),
        ("my_images?label=x", "unknown option 'label'"),
        ("my_images?flip=maybe", "write flip=yes or flip=no"),
        (
            "nolabel.csv",
            r"has no label column \(label, class, .*\); its columns are 'file', 'tag'; write .*\?label=NAME",
        ),
        ("nofile.csv", r"has no file or text column .*; its columns are 'where', 'label'; write .*\?file=NAME"),
        ("two.csv", r"the label column may be 'label', 'class'; write \?label=NAME"),
        ("both.csv", r"could hold images or texts; write .*\?file=file or \?text=text"),
        ("two.csv?label=klass", "unknown column 'klass'; did you mean 'class'"),
        ("texts.csv?size=32", "size and flip are for images, and texts.csv has texts"),
        ("latin.csv", "cannot be read: .*; save it as CSV in UTF-8"),
        ("empty.csv", "cannot be read: "),
    ],
)
def test_a_wrong_reference_is_refused_at_opening(tmp_path: Path, reference: str, message: str) -> None:
    class_folders(tmp_path / "my_images", each=1)
    table(tmp_path / "nolabel.csv", "file,tag\n")
    table(tmp_path / "nofile.csv", "where,label\n")
    table(tmp_path / "two.csv", "file,label,class\n")
    table(tmp_path / "both.csv", "file,text,label\n")
    table(tmp_path / "texts.csv", "text,label\n")
    table(tmp_path / "empty.csv", "")
    (tmp_path / "latin.csv").write_bytes("file,läbel\n".encode("latin-1"))
    with pytest.raises(TlbenchError, match=message):
        opened(f"folder:{tmp_path / reference}")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["gone.png,a", "lost.png,b"], "no row that can be used .file does not exist: 2.; the first is 'gone.png'"),
        (["cat/0.png,a", "cat/1.png,a"], r"one class only \(a\)"),
        ([], "no row that can be used .it is empty."),
    ],
)
def test_a_table_without_usable_rows_is_refused(load, tmp_path: Path, lines: list[str], message: str) -> None:
    home = class_folders(tmp_path / "t", each=2)
    with pytest.raises(TlbenchError, match=message):
        load(f"folder:{table(home / 'l.csv', chr(10).join(['file,label', *lines]))}")


def test_a_strange_split_is_named(load, tmp_path: Path) -> None:
    path = table(tmp_path / "l.csv", "text,label,split\na,b,train\nc,d,holdout\n")
    with pytest.raises(TlbenchError, match="the split 'holdout' is none of train"):
        load(f"folder:{path}")


def test_folders_without_classes_are_refused(load, tmp_path: Path) -> None:
    picture(tmp_path / "flat" / "a.png", 1)
    table(tmp_path / "flat" / "labels.csv", "file,label\na.png,x\n")
    with pytest.raises(
        TlbenchError, match=r"no class folder with an image in .*flat; .*, or write folder:.*labels\.csv"
    ):
        load(f"folder:{tmp_path / 'flat'}")
    class_folders(tmp_path / "one", each=3, names=("cat",))
    with pytest.raises(TlbenchError, match=r"one class only \(cat\)"):
        load(f"folder:{tmp_path / 'one'}")
    class_folders(tmp_path / "tests" / "test", each=3)
    with pytest.raises(TlbenchError, match="images for testing and none for training"):
        load(f"folder:{tmp_path / 'tests'}")
    for name in ("cat", "dog"):
        for i in range(3):
            table(tmp_path / "broken" / name / f"{i}.jpg", "no image")
    with pytest.raises(TlbenchError, match=f"no pool image can be used .{pictures.NOT_AN_IMAGE}: "):
        load(f"folder:{tmp_path / 'broken'}")


def test_a_name_has_no_path_and_tells_what_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(class_folders(tmp_path / "deep" / "my_images"))
    assert opened("folder:.")[0] == "folder:my_images"
    assert opened("folder:../my_images?size=64&flip=yes")[0] == "folder:my_images?flip=yes&size=64"
    assert opened("folder:.?flip=yes")[1].card.horizontal_flip
    table(tmp_path / "x.csv", "Datei,kind\n")
    assert opened(f"folder:{tmp_path}/x.csv?file=Datei&label=kind")[0] == "folder:x.csv?file=Datei&label=kind"


def test_one_class_left_after_labels_seen_once_is_refused(load, tmp_path: Path) -> None:
    home = table(tmp_path / "texts.csv", "text,label\nfirst words,a\nother words,a\nmore of them,a\nalone,b\n")
    with pytest.raises(TlbenchError, match="it has one class only"):
        load(f"folder:{home}")
