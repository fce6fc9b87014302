"""Files in the official formats are read through torchvision itself, with official splits and verified counts."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import json
import pickle
import socketserver
import struct
import threading
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision
from PIL import Image

from tlbench.datasets import base
from tlbench.datasets.torchvision import opened
from tlbench.datasets.torchvision_table import TABLE
from tlbench.registry import DATASETS, Registry
from tlbench.types import TlbenchError

OPEN = urllib.request.urlopen


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **named: Any) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Loads a reference as if so many images (and classes) had been published."""
    registry: Registry = Registry("dataset", "datasets")
    registry.families = DATASETS.families
    monkeypatch.setattr(base, "DATASETS", registry)

    def loaded(reference: str, **published: int | None) -> base.Loaded:
        name = reference.partition(":")[2].partition("?")[0]
        monkeypatch.setitem(TABLE, name, TABLE[name]._replace(**published))
        return base.load(registry.name(reference), tmp_path)

    return loaded


def pixels(n: int, side: int, seed: int = 0) -> np.ndarray:
    rng = np.random.Generator(np.random.PCG64(seed))
    coarse = rng.integers(0, 256, (n, 5, 5, 3)).astype(np.uint8)
    return np.stack([np.asarray(Image.fromarray(one).resize((side, side), Image.Resampling.BICUBIC)) for one in coarse])


def save(path: Path, seed: int, size: tuple[int, int] = (60, 40)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(1, 64, seed)[0]).resize(size).save(path)


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def write_cifar10(place: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    home = place / "cifar-10-batches-py"
    home.mkdir(parents=True)
    x = pixels(40, 32)
    rows = x.transpose(0, 3, 1, 2).reshape(40, -1)
    kind = torchvision.datasets.CIFAR10
    names = [*(name for name, _ in kind.train_list), kind.test_list[0][0]]
    sizes = np.cumsum([0, 4, 4, 4, 4, 4, 20])
    for name, a, b in zip(names, sizes, sizes[1:], strict=False):
        batch = {"data": rows[a:b], "labels": [int(i) % 10 for i in range(a, b)], "filenames": []}
        (home / name).write_bytes(pickle.dumps(batch))
    (home / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"thing {i}" for i in range(10)]}))
    monkeypatch.setattr(kind, "train_list", [[name, md5(home / name)] for name in names[:5]])
    monkeypatch.setattr(kind, "test_list", [[names[5], md5(home / names[5])]])
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": md5(home / "batches.meta")})
    return x


def test_cifar10_is_read_from_its_batches(load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = write_cifar10(tmp_path / "downloads" / "CIFAR10", monkeypatch)
    data = load("torchvision:CIFAR10", pool=20, test=20)
    assert np.array_equal(data.pool_x, x[:20])
    assert np.array_equal(data.test_x, x[20:])
    assert data.class_names[3] == "thing 3"
    assert base.sealed_labels(data).tolist() == [i % 10 for i in range(20)]


def test_a_batch_with_another_md5_is_not_opened(load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "downloads" / "CIFAR10"
    write_cifar10(place, monkeypatch)
    (place / "cifar-10-batches-py" / "data_batch_2").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(TlbenchError, match=r"cannot be downloaded .*tlbench fetch SUITE.*cifar-10-batches-py"):
        load("torchvision:CIFAR10", pool=20, test=20)


def test_mnist_is_read_from_its_idx_files(load, tmp_path: Path) -> None:
    raw = tmp_path / "downloads" / "MNIST" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    grey = pixels(30, 28)[..., 0]
    for part, x in (("train", grey[:20]), ("t10k", grey[20:])):
        labels = np.arange(len(x), dtype=np.uint8) % 10
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">iiii", 2051, len(x), 28, 28) + x.tobytes())
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">ii", 2049, len(x)) + labels.tobytes())
    data = load("torchvision:MNIST", pool=20, test=10)
    assert np.array_equal(data.pool_x, np.repeat(grey[:20, :, :, None], 3, axis=3))
    assert not data.card.horizontal_flip


def test_what_is_not_there_is_downloaded_compared_with_its_md5_and_unpacked(load, tmp_path: Path, monkeypatch) -> None:
    served = tmp_path / "served"
    served.mkdir()
    grey, kind = pixels(30, 28)[..., 0], torchvision.datasets.MNIST
    for part, x in (("train", grey[:20]), ("t10k", grey[20:])):
        labels = np.arange(len(x), dtype=np.uint8) % 10
        images = struct.pack(">iiii", 2051, len(x), 28, 28) + x.tobytes()
        (served / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        (served / f"{part}-labels-idx1-ubyte.gz").write_bytes(
            gzip.compress(struct.pack(">ii", 2049, len(x)) + labels.tobytes())
        )
    resources = [(name, md5(served / name)) for name, _ in kind.resources]
    monkeypatch.setattr(urllib.request, "urlopen", OPEN)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socketserver.TCPServer(("127.0.0.1", 0), partial(Quiet, directory=str(served))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(kind, "mirrors", [f"http://127.0.0.1:{server.server_address[1]}/"])
        with pytest.raises(TlbenchError, match="cannot be downloaded .*corrupted"):
            load("torchvision:MNIST", pool=20, test=10)
        monkeypatch.setattr(kind, "resources", resources)
        data = load("torchvision:MNIST", pool=20, test=10)
        server.shutdown()
    assert np.array_equal(data.test_x[..., 0], grey[20:])


def test_svhn_is_read_from_matlab_files_and_its_tens_are_zeros(load, tmp_path: Path, monkeypatch) -> None:
    from scipy.io import savemat

    place = tmp_path / "downloads" / "SVHN"
    place.mkdir(parents=True)
    x = pixels(40, 32)
    splits = dict(torchvision.datasets.SVHN.split_list)
    for part, rows in (("train", x[:20]), ("test", x[20:])):
        file = place / splits[part][1]
        savemat(file, {"X": rows.transpose(1, 2, 3, 0), "y": (np.arange(20) % 10 + 1)[:, None]})
        splits[part] = [splits[part][0], file.name, md5(file)]
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", splits)
    data = load("torchvision:SVHN", pool=20, test=20)
    assert np.array_equal(data.pool_x, x[:20])
    assert data.pool_y.tolist()[:10] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]
    assert data.class_names == tuple("0123456789")


def test_stl10_is_read_from_its_binary_files(load, tmp_path: Path, monkeypatch) -> None:
    home = tmp_path / "downloads" / "STL10" / "stl10_binary"
    home.mkdir(parents=True)
    x, kind = pixels(30, 96), torchvision.datasets.STL10
    for part, rows in (("train", x[:20]), ("test", x[20:])):
        (home / f"{part}_X.bin").write_bytes(rows.transpose(0, 3, 2, 1).tobytes())
        (home / f"{part}_y.bin").write_bytes((np.arange(len(rows), dtype=np.uint8) % 10 + 1).tobytes())
    (home / "unlabeled_X.bin").touch()
    for each in ("train_list", "test_list"):
        monkeypatch.setattr(kind, each, [[name, md5(home / name)] for name, _ in getattr(kind, each)])
    data = load("torchvision:STL10", pool=20, test=10)
    assert np.array_equal(data.pool_x, x[:20])


def test_flowers_are_read_by_their_matlab_annotations(load, tmp_path: Path, monkeypatch) -> None:
    from scipy.io import savemat

    home = tmp_path / "downloads" / "Flowers102" / "flowers-102"
    for i in range(1, 13):
        save(home / "jpg" / f"image_{i:05}.jpg", i)
    savemat(home / "imagelabels.mat", {"labels": np.array([[1, 2, 3] * 4])})
    savemat(home / "setid.mat", {"trnid": [[1, 2, 3]], "valid": [[4, 5, 6]], "tstid": [[7, 8, 9, 10, 11, 12]]})
    kind = torchvision.datasets.Flowers102
    names = {"label": "imagelabels.mat", "setid": "setid.mat"}
    files = {key: (name, md5(home / name)) for key, name in names.items()}
    monkeypatch.setattr(kind, "_file_dict", {**kind._file_dict, **files})
    monkeypatch.setattr(kind, "classes", kind.classes[:3])
    data = load("torchvision:Flowers102?size=48", pool=6, test=6, classes=3)
    assert data.pool_x.shape == (6, 48, 48, 3)
    assert data.pool_y.tolist() == [0, 1, 2, 0, 1, 2]
    assert data.class_names[0] == "pink primrose"


def test_textures_and_pets_and_aircraft_and_food_are_read_by_their_lists(load, tmp_path: Path) -> None:
    downloads = tmp_path / "downloads"
    dtd = downloads / "DTD" / "dtd" / "dtd"
    pets = downloads / "OxfordIIITPet" / "oxford-iiit-pet"
    planes = downloads / "FGVCAircraft" / "fgvc-aircraft-2013b" / "data"
    food = downloads / "Food101" / "food-101"
    for place in (dtd / "labels", pets / "annotations", planes, food / "meta"):
        place.mkdir(parents=True)
    for at, part in enumerate(("train1", "val1", "test1")):
        names = [f"{c}/{c}_{at}.jpg" for c in ("banded", "dotted")]
        (dtd / "labels" / f"{part}.txt").write_text("\n".join(names))
        for i, name in enumerate(names):
            save(dtd / "images" / name, 10 * at + i)
    for at, part in enumerate(("trainval", "test")):
        ids = [f"{breed}_{at}" for breed in ("Abyssinian", "american_bulldog")]
        rows = [f"{each} {i + 1} {i + 1} 1" for i, each in enumerate(ids)]
        (pets / "annotations" / f"{part}.txt").write_text("\n".join(rows))
        (planes / f"images_variant_{part}.txt").write_text(f"{at}0 707-320\n{at}1 A300 B4\n")
        for i, each in enumerate(ids):
            save(pets / "images" / f"{each}.jpg", 100 + 10 * at + i)
            save(planes / "images" / f"{at}{i}.jpg", 200 + 10 * at + i)
            save(food / "images" / ("pie", "soup")[i] / f"{at}.jpg", 300 + 10 * at + i)
        (food / "meta" / f"{('train', 'test')[at]}.json").write_text(
            json.dumps({"pie": [f"pie/{at}"], "soup": [f"soup/{at}"]})
        )
    (planes / "variants.txt").write_text("707-320\nA300 B4\n")
    expected = {
        "DTD": (4, ("banded", "dotted")),
        "OxfordIIITPet": (2, ("Abyssinian", "American Bulldog")),
        "FGVCAircraft": (2, ("707-320", "A300 B4")),
        "Food101": (2, ("pie", "soup")),
    }
    for name, (pool, names) in expected.items():
        data = load(f"torchvision:{name}?size=32", pool=pool, test=2, classes=2)
        assert (len(data.pool_x), len(data.test_x), data.class_names) == (pool, 2, names)
        assert base.sealed_labels(data).tolist() == [0, 1]


def test_the_frames_of_one_drive_past_a_sign_stay_together(load, tmp_path: Path) -> None:
    home = tmp_path / "downloads" / "GTSRB" / "gtsrb"
    for c in range(2):
        for track in range(3):
            for frame in range(2):
                file = home / "GTSRB" / "Training" / f"{c:05}" / f"{track:05}_{frame:05}.ppm"
                save(file, 100 * c + 10 * track + frame, size=(30 + frame, 33))
    rows = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
    for i in range(4):
        save(home / "GTSRB" / "Final_Test" / "Images" / f"{i:05}.ppm", 500 + i)
        rows.append(f"{i:05}.ppm;60;40;5;5;50;30;{i % 2}")
    (home / "GT-final_test.csv").write_text("\n".join(rows))
    data = load("torchvision:GTSRB", pool=12, test=4, classes=2)
    assert data.pool_x.shape == (12, 64, 64, 3)
    assert data.groups is not None
    assert data.groups.tolist()[:4] == ["00000/00000"] * 2 + ["00000/00001"] * 2
    assert len(set(data.groups)) == 6
    assert base.sealed_labels(data).tolist() == [0, 1, 0, 1]


def test_eurosat_has_no_official_split_and_gets_one_by_hash(load, tmp_path: Path) -> None:
    home = tmp_path / "downloads" / "EuroSAT" / "eurosat" / "2750"
    for c, name in enumerate(("Forest", "River")):
        for i in range(10):
            save(home / name / f"{name}_{i}.jpg", 50 * c + i, size=(64, 64))
    data = load("torchvision:EuroSAT", pool=20, test=None, classes=2)
    assert data.pool_x.shape == (16, 64, 64, 3)
    assert np.bincount(base.sealed_labels(data)).tolist() == [2, 2]


def test_cars_are_read_from_files_put_there_by_hand(load, tmp_path: Path) -> None:
    from scipy.io import savemat

    with pytest.raises(TlbenchError, match=r"cannot be downloaded .*put there stanford_cars/, with cars_train"):
        load("torchvision:StanfordCars", pool=4, test=2, classes=2)
    home = tmp_path / "downloads" / "StanfordCars" / "stanford_cars"
    (home / "devkit").mkdir(parents=True)
    kind = [("class", "i4"), ("fname", "O")]
    for part, n, file in (("train", 4, "devkit/cars_train_annos.mat"), ("test", 2, "cars_test_annos_withlabels.mat")):
        for i in range(n):
            save(home / f"cars_{part}" / f"{i}.jpg", i + 10 * n)
        savemat(home / file, {"annotations": np.array([(i % 2 + 1, f"{i}.jpg") for i in range(n)], kind)})
    savemat(home / "devkit" / "cars_meta.mat", {"class_names": np.array(["Audi", "Volvo"], object)})
    data = load("torchvision:StanfordCars?size=32", pool=4, test=2, classes=2)
    assert data.class_names == ("Audi", "Volvo")
    assert data.pool_y.tolist() == [0, 1, 0, 1]


def test_a_mirror_that_changed_its_counts_is_refused_with_both_numbers(load, tmp_path: Path, monkeypatch) -> None:
    write_cifar10(tmp_path / "downloads" / "CIFAR10", monkeypatch)
    with pytest.raises(TlbenchError, match="its pool has 20 images and 20 labels where 50000 were published"):
        load("torchvision:CIFAR10")


def test_a_missing_file_is_noticed_by_its_count(load, tmp_path: Path) -> None:
    test_eurosat_has_no_official_split_and_gets_one_by_hash(load, tmp_path)
    with pytest.raises(TlbenchError, match="its pool has 20 images and 20 labels where 27000 were published"):
        load("torchvision:EuroSAT?size=32", pool=27_000)


def test_unpacked_downloads_are_used_and_broken_archives_refused(load, tmp_path: Path) -> None:
    raw = tmp_path / "downloads" / "FashionMNIST" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"not what was published"))
    with pytest.raises(TlbenchError, match="FashionMNIST.*cannot be downloaded .*no network"):
        load("torchvision:FashionMNIST")


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(TlbenchError, match="unknown torchvision dataset 'Cifar10'; see: there are CIFAR10$"):
        opened("torchvision:Cifar10")
    with pytest.raises(TlbenchError, match="unknown torchvision dataset 'Flowers'; did you mean 'Flowers102'"):
        opened("torchvision:Flowers")
    with pytest.raises(TlbenchError, match="unknown option 'side'; did you mean 'size'"):
        opened("torchvision:DTD?side=3")


@pytest.mark.parametrize("name", sorted(TABLE))
def test_every_entry_of_the_table_is_a_class_of_torchvision_and_opens_without_it(name: str) -> None:
    assert hasattr(torchvision.datasets, name)
    called, dataset = opened(f"torchvision:{name}")
    assert called == dataset.card.name == f"torchvision:{name}"
    assert dataset.state() != opened(f"torchvision:{name}?size=384")[1].state()
