"""Bad data is refused by name and place, copies leave the pool, caches are whole or made again, labels stay sealed."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlbench.datasets import base, cache, duplicates, holdout, versions
from tlbench.registry import DATASETS, Dataset
from tlbench.types import Arrays, Card, TlbenchError


def card(classes: int = 2, modality: str = "image") -> Card:
    return Card("toy", modality, classes, "Toy.", "procedural", "toys", "numbers", "none")  # type: ignore[arg-type]


def images(n: int, seed: int = 0, side: int = 32) -> np.ndarray:
    """Smooth random pictures: unlike noise, they survive compression."""
    rng = np.random.Generator(np.random.PCG64(seed))
    coarse = rng.integers(0, 256, (n, 5, 5, 3)).astype(np.uint8)
    return np.stack([np.asarray(Image.fromarray(one).resize((side, side), Image.Resampling.BICUBIC)) for one in coarse])


def arrays(**changes: object) -> Arrays:
    whole = Arrays(images(20), np.arange(20) % 2, images(10, seed=1), np.arange(10) % 2, ("a", "b"))
    return whole._replace(**changes)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    dataset = Dataset(card(), toy_arrays)
    monkeypatch.setitem(DATASETS._items, "toy", dataset)
    return dataset


def toy_arrays(root: Path) -> Arrays:
    return arrays()


def with_nan() -> np.ndarray:
    x = images(20).astype(np.float32)
    x[3, 0, 0, 0] = np.nan
    return x


def ragged() -> np.ndarray:
    x = np.empty(20, object)
    x[:] = list(images(20))
    x[7] = None
    return x


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pool_x": with_nan()}, r"pool_x\[3\] holds NaN"),
        ({"pool_x": images(20).astype(np.float32)}, r"pool_x is float32 \[20, 32, 32, 3\]; give raw uint8"),
        ({"pool_x": images(20)[..., 0]}, r"pool_x is uint8 \[20, 32, 32\]"),
        ({"pool_x": ragged()}, r"pool_x\[7\] is unreadable"),
        ({"test_x": np.zeros((0, 32, 32, 3), np.uint8)}, "there is nothing in it"),
        ({"test_x": images(10, 1, side=16)}, r"pool images are \(32, 32, 3\) and test images \(16, 16, 3\)"),
        ({"pool_y": np.arange(20) % 3}, r"pool_y\[2\] is 2; labels run from 0 to 1"),
        ({"test_y": np.full(10, -1)}, r"test_y\[0\] is -1"),
        ({"test_y": np.arange(9) % 2}, r"test_y has shape \[9\] for 10 examples"),
        ({"pool_y": np.arange(20) % 2 + 0.5}, "pool_y is float64"),
        ({"pool_y": np.where(np.arange(20) == 4, np.nan, 1.0)}, r"pool_y\[4\] is NaN"),
        ({"pool_y": np.zeros(20, int)}, "no pool example of class 'b'"),
        ({"class_names": ("a",)}, "one class only"),
        ({"class_names": ("a", "a")}, "two classes are called 'a'"),
        ({"class_names": ("a", "b", "c")}, "card says 2 classes and its function named 3"),
        ({"groups": np.zeros(3, int)}, "groups has shape"),
    ],
)
def test_bad_data_is_refused_with_its_name_and_place(changes: dict[str, object], message: str) -> None:
    with pytest.raises(TlbenchError, match=f"^dataset 'toy': .*{message}"):
        base.prepared(arrays(**changes), card())


def test_an_empty_text_is_refused_with_its_place() -> None:
    texts = arrays(pool_x=np.array(["one", " "] * 10, object), test_x=np.array(["three"] * 10, object))
    with pytest.raises(TlbenchError, match=r"pool_x\[1\] is ' ', not a text \(10 such"):
        base.prepared(texts, card(modality="text"))


def test_a_class_that_consists_of_copies_is_refused() -> None:
    x = images(20)
    x[1::2] = images(10, seed=1)
    with pytest.raises(TlbenchError, match=r"no pool example of class 'b' \(left out: copy of a test example: 10\)"):
        base.prepared(arrays(pool_x=x), card())


def recompressed(image: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=80)
    return np.asarray(Image.open(file))


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image,
        recompressed,
        lambda image: (image * 0.8 + 20).astype(np.uint8),
        lambda image: np.asarray(Image.fromarray(image).resize((40, 40)).resize((32, 32))),
    ],
    ids=["exact", "recompressed", "brighter", "resized"],
)
def test_a_planted_copy_of_a_test_image_leaves_the_pool(change: object) -> None:
    x = images(20)
    x[5] = change(images(10, seed=1)[3])  # type: ignore[operator]
    kept, removed = base.prepared(arrays(pool_x=x, groups=np.arange(20)), card())
    assert removed == 1
    assert 5 not in (kept.groups if kept.groups is not None else [])
    assert len(kept.pool_x) == len(kept.pool_y) == 19


def test_a_copy_is_found_among_test_images_that_look_alike() -> None:
    """Flat pictures have one hash; which of them the copy is compared with last must not matter."""
    test = np.stack([np.full((32, 32, 3), level, np.uint8) for level in (40, 120, 200)])
    assert duplicates.copies(test + np.uint8(1), test).tolist() == [True, True, True]


def test_different_pictures_of_one_making_are_no_copies() -> None:
    assert not duplicates.copies(images(300), images(300, seed=1)).any()


def test_texts_are_copies_whatever_their_case_and_spacing() -> None:
    pool = np.array(["Good film!", "good  FILM", "bad film", "?!", "!?"], object)
    assert duplicates.copies(pool, np.array(["good film", "?!"], object)).tolist() == [True, True, False, True, False]


def test_a_large_test_set_is_cut_to_ten_thousand_and_stays_stratified() -> None:
    rng = np.random.Generator(np.random.PCG64(0))
    test_x = rng.integers(0, 256, (12_000, 4, 4, 3)).astype(np.uint8)
    test_y = (np.arange(12_000) % 4 == 0).astype(int)
    cut, _ = base.prepared(arrays(pool_x=images(20, side=4), test_x=test_x, test_y=test_y), card())
    assert np.bincount(cut.test_y).tolist() == [7500, 2500]


def test_the_choice_by_hash_survives_another_order() -> None:
    x, y = images(60), np.arange(60) % 3
    order = np.random.Generator(np.random.PCG64(1)).permutation(60)
    picked = holdout.stratified_by_hash(x, y, 13)
    assert np.array_equal(holdout.stratified_by_hash(x[order], y[order], 13), picked[order])
    assert sorted(np.bincount(y[picked]).tolist()) == [4, 4, 5]


def test_one_pixel_or_label_changes_the_fingerprint() -> None:
    x, y = images(20), np.arange(10) % 2
    x[0, 0, 0, 0] ^= 1
    y[0] ^= 1
    prints = {base.fingerprint(arrays()), base.fingerprint(arrays(pool_x=x)), base.fingerprint(arrays(test_y=y))}
    assert len(prints) == 3
    assert base.fingerprint(arrays()) in prints


def test_what_is_loaded_is_what_was_made_and_cannot_be_written(toy: Dataset, tmp_path: Path) -> None:
    first, second = base.load("toy", tmp_path), base.load("toy", tmp_path)
    assert np.array_equal(first.pool_x, images(20))
    assert first.fingerprint == second.fingerprint == base.fingerprint(arrays(pool_y=np.arange(20) % 2))
    assert np.array_equal(base.sealed_labels(second), np.arange(10) % 2)
    assert first.test_is_small
    for array in (first.pool_x, first.pool_y, first.test_x):
        assert not array.flags.writeable
    assert [path.name for path in (tmp_path / "datasets").iterdir()] == [first.folder.name]


def test_texts_come_back_from_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pool, test = np.array(["één", "zwei\nZeilen"] * 2, object), np.array(["три", "four"], object)
    made = Arrays(pool, np.arange(4) % 2, test, np.arange(2), ("a", "b"))
    monkeypatch.setitem(DATASETS._items, "toy", Dataset(card(modality="text"), toy_arrays))
    monkeypatch.setattr(DATASETS["toy"], "make", lambda root: made)
    loaded = base.load("toy", tmp_path)
    assert loaded.pool_x.tolist() == pool.tolist()
    assert loaded.test_x.tolist() == test.tolist()


@pytest.mark.parametrize("victim", ["pool_x.npy", "pool_y.npy", "test_x.npy", "manifest.json"])
def test_a_damaged_cache_is_said_and_made_again(
    toy: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture, victim: str
) -> None:
    file = base.load("toy", tmp_path).folder / victim
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    with caplog.at_level(logging.WARNING, "tlbench"):
        assert np.array_equal(base.load("toy", tmp_path).pool_x, images(20))
    assert "damaged" in caplog.text
    assert victim in caplog.text


def test_of_a_large_file_the_size_and_a_sample_are_compared_and_all_on_demand(
    toy: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "WHOLE_UP_TO", 1000)
    monkeypatch.setattr(cache, "BLOCK", 50)
    loaded = base.load("toy", tmp_path)
    file = loaded.folder / "pool_x.npy"
    written = file.read_bytes()
    base.verify(loaded)
    for damage in (written[:-1], written + b"x", b"x" + written[1:], written[:-1] + bytes([written[-1] ^ 1])):
        file.write_bytes(damage)
        with pytest.raises(cache.Damaged, match=r"pool_x\.npy"):
            cache.read(loaded.folder, "pool_x")
    between = bytearray(written)
    between[500] ^= 1
    file.write_bytes(between)
    assert cache.read(loaded.folder, "pool_x") is not None
    with pytest.raises(TlbenchError, match=r"pool_x\.npy: its checksum differs.*; delete .* and run again"):
        base.verify(loaded)


def test_what_a_process_that_died_left_is_removed(toy: Dataset, tmp_path: Path) -> None:
    folder = base.load("toy", tmp_path).folder
    cache.remove(folder)
    left = folder.parent / f".{folder.name}-died"
    left.mkdir()
    (left / "pool.npy").write_bytes(b"gigabytes")
    assert base.load("toy", tmp_path).folder == folder
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_files_are_decoded_again_when_they_or_what_reads_them_change_and_not_for_other_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "datasets"
    home.mkdir()
    for name in ("versions", "pictures", "holdout", "duplicates", "folder", "folder_table", "mini"):
        (home / f"{name}.py").write_text(f"# {name}")
    monkeypatch.setattr(versions, "__file__", str(home / "versions.py"))
    states = ["one"]
    drawn, read = Dataset(card(), toy_arrays), Dataset(card(), toy_arrays, state=lambda: states[0])
    read.__module__ = "tlbench.datasets.folder"
    first = versions.maker_version(drawn), versions.maker_version(read)
    (home / "mini.py").write_text("# changed")
    assert versions.maker_version(drawn) != first[0]
    assert versions.maker_version(read) == first[1]
    seen = {first[1]}
    for name in ("pictures", "folder_table"):
        (home / f"{name}.py").write_text("# changed")
        seen.add(versions.maker_version(read))
    states[0] = "two"
    seen.add(versions.maker_version(read))
    assert len(seen) == 4


def test_loading_needs_no_test_labels_and_reading_them_mends_them(
    toy: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (base.load("toy", tmp_path).folder / "test_y.npy").unlink()
    with caplog.at_level(logging.WARNING, "tlbench"):
        loaded = base.load("toy", tmp_path)
        assert not caplog.text
        assert np.array_equal(base.sealed_labels(loaded), np.arange(10) % 2)
    assert "test_y.npy: it is missing" in caplog.text


def test_inputs_are_read_without_labels_and_their_loss_is_said(toy: Dataset, tmp_path: Path) -> None:
    folder = base.load("toy", tmp_path).folder
    for labels in ("pool_y.npy", "test_y.npy"):
        (folder / labels).unlink()
    pool = base.read_inputs(folder, "pool")
    assert isinstance(pool, np.memmap)
    assert np.array_equal(pool, images(20))
    cache.remove(folder)
    with pytest.raises(TlbenchError, match="gone or damaged .*; run again"):
        base.read_inputs(folder, "test")


def test_a_function_that_fails_is_named(toy: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(root: Path) -> Arrays:
        raise OSError("cannot identify image file 'cat.png'")

    monkeypatch.setattr(toy, "make", fail)
    with pytest.raises(TlbenchError, match=r"dataset 'toy': .*toy_arrays failed: OSError: .*cat\.png"):
        base.load("toy", tmp_path)
    with pytest.raises(TlbenchError, match="unknown dataset 'digit'; did you mean 'digits'"):
        base.load("digit", tmp_path)


def test_a_disk_that_refuses_is_named(toy: Dataset, tmp_path: Path) -> None:
    (tmp_path / "datasets").write_text("in the way")
    with pytest.raises(TlbenchError, match="cannot be written"):
        base.load("toy", tmp_path)


def run_python(code: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_processes_that_build_at_once_agree(tmp_path: Path) -> None:
    code = """
        import sys, tlbench.datasets
        from tlbench.datasets.base import load, sealed_labels
        loaded = load("symmetry", sys.argv[1])
        print(loaded.fingerprint, len(sealed_labels(loaded)))
    """
    builders = [run_python(code, str(tmp_path)) for _ in range(3)]
    said = {builder.communicate(timeout=60) for builder in builders}
    assert len(said) == 1
    assert said.pop()[0].endswith(" 500\n")
    assert len(list((tmp_path / "datasets").iterdir())) == 1


def test_a_sealed_process_reaches_no_labels(tmp_path: Path) -> None:
    code = """
        import sys, tlbench.datasets
        from pathlib import Path
        from tlbench.datasets.base import load, read_inputs, seal, sealed_labels, verify
        from tlbench.registry import DATASETS
        from tlbench.types import TlbenchError
        loaded = load("symmetry", sys.argv[1])
        seal()
        (Path(sys.argv[1]) / "link.npy").symlink_to(loaded.folder / "test_y.npy")
        attempts = [
            lambda: sealed_labels(loaded),
            lambda: load("symmetry", sys.argv[1]),
            lambda: DATASETS["symmetry"].make(Path(sys.argv[1])),
            lambda: open(loaded.folder / "test_y.npy", "rb"),
            lambda: (loaded.folder / "pool_y.npy").read_bytes(),
            lambda: (Path(sys.argv[1]) / "link.npy").read_bytes(),
            lambda: verify(loaded),
            lambda: DATASETS["torchvision:MNIST"].make(Path(sys.argv[1])),
        ]
        for attempt in attempts:
            try:
                attempt()
            except TlbenchError as error:
                assert "test labels are sealed" in str(error)
                print("refused")
        print(loaded.pool_x.shape, read_inputs(loaded.folder, "test").shape)
    """
    out, err = run_python(code, str(tmp_path)).communicate(timeout=60)
    assert out == "refused\n" * 8 + "(720, 32, 32, 3) (500, 32, 32, 3)\n", err
