"""Laws of cached activations: right, computed once, intact, within their bound."""

from __future__ import annotations

import logging
import os
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tlbench import backbones, caches, features, precision, rng
from tlbench.datasets import cache
from tlbench.engine_rows import read
from tlbench.features import Bank, Place
from tlbench.features_kept import entries, kept, removed
from tlbench.types import TlbenchError

ROWS, LARGE = 20, 10**9
IMAGES = (255 * rng.uniform(rng.key(0), (30, 32, 32, 3))).to(torch.uint8).numpy()
CHOSEN = np.arange(5, 5 + ROWS)
TAPS = ("input", "blocks.0", "blocks.2", "features")


@pytest.fixture(scope="module")
def network():
    return backbones.get("glyph_vit")


def banked(network, tap: str, place: Place, images: np.ndarray = IMAGES) -> Tensor | Bank:
    encoded = Bank(images, CHOSEN, nn.Identity(), "cpu")
    return features.bank(tap, partial(network.prefix, tap), encoded, place=place)


def whole(bank: Tensor | Bank) -> Tensor:
    return bank[torch.arange(len(bank))]


def direct(network, tap: str, images: np.ndarray = IMAGES) -> Tensor:
    with torch.no_grad():
        return network.prefix(tap)(torch.from_numpy(images[CHOSEN]))


def array(number: int, rows: int = 100) -> np.ndarray:
    return np.full((rows, 1000), number, dtype=np.float32)


def keep(folder: Path, number: int, *, most: int = LARGE, made: list[int] | None = None) -> np.ndarray:
    def make():
        if made is not None:
            made.append(number)
        return iter(np.array_split(array(number), 3))

    return kept(folder / "kept" / str(number), make, rows=100, about={"array": str(number)}, most=most)


def numbers(folder: Path) -> list[str]:
    return sorted(entry.path.name for entry in entries(folder / "kept"))


@pytest.mark.parametrize("most", [LARGE, 0], ids=["kept", "no room"])
@pytest.mark.parametrize("tap", TAPS)
def test_a_bank_holds_what_the_prefix_gives(network, tmp_path, tap, most):
    place = Place(tmp_path / "kept", "images", {}, most)
    expected = direct(network, tap)
    for _ in range(2):
        bank = banked(network, tap, place)
        assert len(bank) == ROWS and bank.nbytes == expected.nbytes and bank[:1].dtype == torch.float32
        torch.testing.assert_close(whole(bank), expected, rtol=1e-5, atol=1e-5)
    assert bool(entries(tmp_path / "kept")) == (most > 0 and tap != "input")


def test_images_stay_bytes_until_they_are_used(network, tmp_path):
    place = Place(tmp_path / "kept", "images", {}, LARGE)
    bank = banked(network, "input", place)
    assert isinstance(bank, Bank) and bank.source is IMAGES


def test_images_that_reading_makes_smaller_are_read_once(network, tmp_path):
    large = np.repeat(np.repeat(IMAGES, 4, axis=1), 4, axis=2)
    bank = banked(network, "input", Place(tmp_path / "kept", "large", {}, LARGE), large)
    assert isinstance(bank, Tensor)
    torch.testing.assert_close(bank, direct(network, "input", large))
    assert len(entries(tmp_path / "kept")) == 1


def test_a_row_that_several_lanes_see_is_brought_to_the_tap_once(network):
    brought = []

    def reading(x: Tensor) -> Tensor:
        brought.append(len(x))
        return prefix(x)

    prefix, rows = network.prefix("input"), torch.tensor([[3, 1, 4], [1, 5, 9], [3, 1, 4]])
    found = read(Bank(IMAGES, CHOSEN, reading, "cpu"), rows)
    assert brought == [5]
    assert torch.equal(found, read(direct(network, "input"), rows)) and found.shape[:2] == rows.shape


def test_a_bank_that_does_not_fit_into_memory_whole_stays_where_it_is(network, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "RESIDENT_BYTES", 1)
    for tap in TAPS[1:]:
        bank = banked(network, tap, Place(tmp_path / "kept", "images", {}, 0))
        assert isinstance(bank, Bank)
        torch.testing.assert_close(bank[torch.tensor([3, 1])], direct(network, tap)[[3, 1]], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scale, bytes_", [(1.0, 2), (1e5, 4)], ids=["in range", "out of float16's range"])
def test_what_runs_in_bfloat16_is_kept_in_float16_within_its_range(network, tmp_path, monkeypatch, scale, bytes_):
    class Scaled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return scale * prefix(x)

    prefix = network.prefix("blocks.2")
    monkeypatch.setattr(precision, "MIXED", ("cpu",))
    monkeypatch.setattr(network, "prefix", lambda tap: Scaled())
    place = Place(tmp_path / "kept", "images", {}, LARGE)
    found = whole(banked(network, "blocks.2", place))
    with torch.autocast("cpu", torch.bfloat16):
        expected = direct(network, "blocks.2").float()
    assert np.load(entries(tmp_path / "kept")[0].path / "x.npy").itemsize == bytes_
    torch.testing.assert_close(found, expected, rtol=2**-11 if bytes_ == 2 else 0.0, atol=1e-7)


def test_writing_into_a_bank_does_not_reach_the_file(network, tmp_path):
    place = Place(tmp_path / "kept", "images", {}, LARGE)
    bank = banked(network, "features", place)
    before = bank.clone()
    bank.zero_()
    assert torch.equal(whole(banked(network, "features", place)), before)


def test_of_two_that_need_an_array_at_once_one_makes_it_and_the_other_waits(tmp_path):
    path, asked, made, found = tmp_path / "kept" / "both", threading.Barrier(2), [], []

    def make():
        made.append(threading.get_ident())
        yield array(7)

    def ask():
        asked.wait()
        found.append(kept(path, make, rows=100, about={}, most=LARGE))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and len(found) == 2
    assert all((each == 7).all() for each in found)


def flip(path: Path) -> None:
    content = bytearray((path / "x.npy").read_bytes())
    content[-1] ^= 1
    (path / "x.npy").write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        flip,
        lambda path: (path / "x.npy").write_bytes((path / "x.npy").read_bytes()[:-1]),
        lambda path: (path / "manifest.json").write_text("{"),
        lambda path: (path / "x.npy").unlink(),
    ],
    ids=["a bit is flipped", "the end is missing", "the manifest is cut", "the file is missing"],
)
def test_a_damaged_array_is_said_and_made_again(tmp_path, caplog, damage):
    keep(tmp_path, 1)
    damage(tmp_path / "kept" / "1")
    made: list[int] = []
    with caplog.at_level(logging.WARNING, logger="tlbench"):
        assert (keep(tmp_path, 1, made=made) == 1).all()
    assert made == [1] and "(1) are damaged" in caplog.text
    keep(tmp_path, 1, made=made)
    assert made == [1]


def test_what_was_not_asked_for_longest_goes_first(tmp_path):
    for number in range(3):
        keep(tmp_path, number)
        os.utime(tmp_path / "kept" / str(number) / cache.MANIFEST, (number, number))
    keep(tmp_path, 0)
    room = 3 * entries(tmp_path / "kept")[0].bytes + 10
    first = keep(tmp_path, 1)
    os.utime(tmp_path / "kept" / "1" / cache.MANIFEST, (1, 1))
    keep(tmp_path, 3, most=room)
    assert numbers(tmp_path) == ["0", "2", "3"]
    assert (first == 1).all()  # what is open stays readable


def test_all_arrays_together_stay_within_the_bound(tmp_path):
    keep(tmp_path, 0)
    room = 2 * entries(tmp_path / "kept")[0].bytes + 10
    for number in range(1, 6):
        keep(tmp_path, number, most=room)
        assert sum(entry.bytes for entry in entries(tmp_path / "kept")) <= room
    assert "5" in numbers(tmp_path)


def test_what_is_being_made_is_not_removed(tmp_path):
    with cache.building(tmp_path / "kept" / "slow") as place:
        (place / "draft.npy").write_bytes(bytes(10**6))
        keep(tmp_path, 1, most=500_000)
        assert (place / "draft.npy").is_file()


def test_leavings_of_a_process_that_died_and_of_an_older_tlbench_go(tmp_path):
    folder = tmp_path / "kept"
    (folder / ".dead-abcdefgh").mkdir(parents=True)
    (folder / ".dead-abcdefgh" / "draft.npy").write_bytes(bytes(10**6))
    (folder / "old.npy").write_bytes(bytes(10**6))
    keep(tmp_path, 1, most=500_000)
    assert numbers(tmp_path) == ["1"]


def test_an_array_larger_than_the_bound_is_not_kept_and_pushes_nothing_out(tmp_path, caplog):
    keep(tmp_path, 1)
    with caplog.at_level(logging.WARNING, logger="tlbench"):
        assert keep(tmp_path, 2, most=1000) is None
    assert numbers(tmp_path) == ["1"] and "TLBENCH_CACHE_GB" in caplog.text


def test_a_cache_that_may_only_be_read_serves(tmp_path):
    keep(tmp_path, 1)
    used = entries(tmp_path / "kept")[0].used
    os.chmod(tmp_path / "kept" / "1" / cache.MANIFEST, 0o444)
    assert (keep(tmp_path, 1) == 1).all()
    assert os.access(tmp_path / "kept" / "1" / cache.MANIFEST, os.W_OK) or entries(tmp_path / "kept")[0].used == used


def test_entries_say_what_they_are_and_can_be_removed(tmp_path):
    keep(tmp_path, 4)
    (entry,) = entries(tmp_path / "kept")
    assert entry.about == {"array": "4"} and entry.bytes > 100 * 1000 * 4
    assert removed(entry) and entries(tmp_path / "kept") == []


@pytest.mark.parametrize("said, bytes_", [("", 20 * 2**30), ("0", 0), ("1.5", 3 * 2**29)])
def test_the_bound_is_read_from_the_environment(monkeypatch, said, bytes_):
    monkeypatch.setenv("TLBENCH_CACHE_GB", said)
    assert caches.most_bytes() == bytes_


@pytest.mark.parametrize("said", ["much", "-1", "inf", "nan"])
def test_a_bound_that_is_no_number_is_refused(monkeypatch, said):
    monkeypatch.setenv("TLBENCH_CACHE_GB", said)
    with pytest.raises(TlbenchError, match="TLBENCH_CACHE_GB"):
        caches.most_bytes()
