"""An exported folder: it predicts what the fit in memory predicted, stands alone, and is refused when changed."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from test_advise import contest, results, write_digits
from toy_text import saved as saved_text
from typer.testing import CliRunner

from tlbench import exported, exported_model, rng
from tlbench.advise import Advice
from tlbench.advise_calibration import Calibration
from tlbench.advise_data import labelled, reference_of
from tlbench.advise_findings import findings
from tlbench.backbones import saved
from tlbench.cli import app
from tlbench.exported_files import checksums
from tlbench.exported_fit import Refit, refitted
from tlbench.registry import BACKBONES, STRATEGIES
from tlbench.strategies.base import Strategy
from tlbench.suite import fill_registries
from tlbench.types import Effort, TlbenchError, sha256

EFFORT = Effort(trials=2, steps=8, batch_size=8, folds="lite")
CLOSE = {"rtol": 1e-4, "atol": 1e-4}
IMAGE_WAYS = [
    ("nearest_mean", "glyph_vit"),
    ("linear_probe", "glyph_cnn"),
    ("full_finetune", "glyph_cnn"),
    ("partial_freeze", "glyph_vit"),
    ("lora", "glyph_vit"),
    ("adapter", "glyph_vit"),
    ("bitfit", "glyph_vit"),
    ("from_scratch", "glyph_cnn"),
    ("pixels_logistic", "glyph_vit"),
    ("majority", "glyph_vit"),
    ("lora", "timm:test_vit@random"),
    ("full_finetune", "timm:test_resnet@random"),
    ("linear_probe", "timm:test_vit@random?size=64"),
    ("linear_probe", "torchvision:resnet18@random?size=32"),
]
TEXT_WAYS = ["nearest_mean", "linear_probe", "partial_freeze", "lora", "full_finetune", "tfidf_logistic"]


class Made(NamedTuple):
    refit: Refit
    advice: Advice
    folder: Path


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("exported")
    write_digits(place / "scans", 6)
    starts = {"up": "sum of an array", "down": "draw a line on the figure"}
    ends = [f"{b} {c}" for b in ("given", "labels", "model") for c in ("axis", "points", "new data")]
    texts = [(f"{start} {end}", label) for label, start in starts.items() for end in ends]
    with (place / "lines.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *texts])
    saved_text(place / "tiny_mpnet", "mpnet")
    return place


def made(place: Path, way: tuple[str, str], out: Path) -> Made:
    """A way trained on all labels of the digits or the texts, in a folder; its score is made up."""
    fill_registries()
    strategy, reference = way
    network = BACKBONES.name(reference)
    path = place / ("scans" if BACKBONES[network].modality == "image" else "lines.csv")
    data = labelled(reference_of(str(path)), place / "cache")
    refit = refitted(data, (strategy, network), EFFORT, root=place / "cache", device="cpu")
    toy = contest(12)
    toy.data = replace(data, left_out={"empty text": 2})
    frame, table = results({"majority": [0.3] * 5, "lora": [0.9, 0.8, 0.9, 0.85, 0.9]}, toy)
    found = findings(toy, frame, table)
    advised = found.ways[0]._replace(strategy=strategy, network=network)
    advice = Advice(toy, replace(found, advised=advised), (), Calibration(2.0, 0.05, 0.2), out)
    return Made(refit, advice, exported.write(advice, refit, out))


@pytest.fixture(scope="module")
def images(place):
    return made(place, ("lora", "glyph_vit"), place / "image_model")


@pytest.fixture(scope="module")
def texts(place):
    return made(place, ("partial_freeze", f"hf:{place / 'tiny_mpnet'}"), place / "text_model")


def copied(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to / "copy"))


def rewritten(folder: Path, **changes) -> None:
    """config.json with other values, and a checksum that fits: what a careful forger, or another version, writes."""
    config = json.loads((folder / "config.json").read_text()) | changes
    del config["sha256"]
    config["files"] = checksums(folder)
    (folder / "config.json").write_text(json.dumps(config | {"sha256": sha256(config)}))


# ---- it predicts what the fit in memory predicted


@pytest.mark.parametrize("way", IMAGE_WAYS, ids="-".join)
def test_an_exported_image_model_predicts_what_the_fit_predicted(place, way, tmp_path):
    refit, _, folder = made(place, way, tmp_path / "model")
    model = exported_model.load(folder)
    found = model.logits(refit.sample).numpy()
    assert refit.logits.shape == (18, 3)
    np.testing.assert_allclose(found, refit.logits, **CLOSE)
    alone = np.concatenate([model.logits(refit.sample[i : i + 1]).numpy() for i in range(3)])
    np.testing.assert_allclose(alone, found[:3], **CLOSE)


@pytest.mark.parametrize("strategy", TEXT_WAYS)
def test_an_exported_text_model_predicts_what_the_fit_predicted(place, strategy, tmp_path):
    refit, _, folder = made(place, (strategy, f"hf:{place / 'tiny_mpnet'}"), tmp_path / "model")
    model = exported_model.load(folder)
    found = model.logits(refit.sample).numpy()
    np.testing.assert_allclose(found, refit.logits, **CLOSE)
    alone = np.concatenate([model.logits(refit.sample[i : i + 1]).numpy() for i in range(3)])
    np.testing.assert_allclose(alone, found[:3], **CLOSE)


def test_the_hyperparameters_are_those_that_inner_folds_chose(images):
    config = json.loads((images.folder / "config.json").read_text())
    assert config["strategy"]["hyperparameters"] == images.refit.params
    assert set(images.refit.params) == {"lr", "weight_decay", "rank"} and images.refit.trials == 2


def test_nothing_that_prediction_does_not_need_is_kept(images):
    names = set(load_file(images.folder / "model.safetensors"))
    assert "state.theta" in names
    assert not {"state.m", "state.v", "state.key"} & names


def test_a_strategy_that_needs_its_training_examples_is_refused(place):
    class Neighbour(Strategy):
        """The class of the nearest training example."""

        name = "test_neighbour"

        def init(self, task, hp, key):
            return {"y": task.y}

        def predict(self, task, hp, state, x):
            nearest = torch.cdist(x.flatten(1), task.x.flatten(1)).argmin(1)
            return torch.nn.functional.one_hot(task.y[nearest], task.num_classes).float()

    STRATEGIES.add("test_neighbour", Neighbour)
    data = labelled(reference_of(str(place / "scans")), place / "cache")
    with pytest.raises(TlbenchError, match="test_neighbour cannot be exported"):
        refitted(data, ("test_neighbour", "glyph_vit"), EFFORT, root=place / "cache", device="cpu")


# ---- it stands alone


def test_a_text_model_needs_neither_the_network_it_came_from_nor_a_hub(texts, tmp_path):
    folder = copied(texts.folder, tmp_path)
    program = (
        "import socket, sys\n"
        "def refuse(*_): raise AssertionError('a connection was tried')\n"
        "socket.socket.connect = refuse\n"
        "from pathlib import Path\n"
        "import numpy as np\n"
        "from tlbench.exported_model import load\n"
        "model = load(Path(sys.argv[1]))\n"
        "print(model.logits(np.array(['sum of an array given axis'], object)).tolist())\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    here = exported_model.load(texts.folder).logits(np.array(["sum of an array given axis"], object))
    np.testing.assert_allclose(json.loads(answer.stdout), here.numpy(), **CLOSE)
    assert not any(path.suffix in (".py", ".pkl", ".bin", ".pt") for path in folder.rglob("*"))


def test_no_path_of_the_machine_is_written_down(images, texts, place):
    for folder in (images.folder, texts.folder):
        for file in folder.rglob("*.*"):
            if file.suffix in (".json", ".md"):
                assert str(place) not in file.read_text(), file


def test_the_card_says_what_a_stranger_must_know(images):
    text = (images.folder / "README.md").read_text()
    score = ("balanced accuracy", "95 % interval", "calibration error was 5 %")
    for said in (*score, "zero | 6", "empty text", "Licences", "rank"):
        assert said in text, said


def test_preprocessing_is_kept_where_it_is_not_the_architectures_own(tmp_path):
    fill_registries()
    network = BACKBONES["timm:test_vit@random"]()
    network.reader.recipe = network.reader.recipe._replace(crop="squash", mean=(0.1, 0.2, 0.3))
    network.reader.mean = torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1)
    again = saved.rebuilt(saved.described(network, tmp_path), tmp_path, saved.weights(network))
    assert again.fingerprint == network.fingerprint
    assert again.reader.recipe == network.reader.recipe


def test_a_network_made_with_other_arguments_than_its_name_says_is_made_so_again(tmp_path):
    import timm

    folder = tmp_path / "mine"
    folder.mkdir()
    arguments = {"depth": 2, "embed_dim": 48, "num_heads": 3}
    with rng.ambient(0):
        save_file(timm.create_model("test_vit", num_classes=0, **arguments).state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"architecture": "test_vit", "model_args": arguments}))
    fill_registries()
    network = BACKBONES[f"timm:test_vit@{folder}"]()
    (tmp_path / "out").mkdir()
    said = json.loads(json.dumps(saved.described(network, tmp_path / "out")))
    shutil.rmtree(folder)
    again = saved.rebuilt(said, tmp_path / "out", saved.weights(network))
    assert again.fingerprint == network.fingerprint and again.name == "timm:test_vit@mine"


# ---- it is refused when it was changed


def test_a_folder_that_is_no_export_is_refused(tmp_path):
    with pytest.raises(TlbenchError, match="no export"):
        exported_model.load(tmp_path)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "network/tokenizer.json", "network/config.json"])
def test_a_changed_file_is_refused(texts, tmp_path, file):
    folder = copied(texts.folder, tmp_path)
    content = bytearray((folder / file).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / file).write_bytes(content)
    with pytest.raises(TlbenchError, match=file.replace(".", r"\.")):
        exported_model.load(folder)


def test_a_missing_file_is_named(texts, tmp_path):
    folder = copied(texts.folder, tmp_path)
    (folder / "network" / "tokenizer.json").unlink()
    with pytest.raises(TlbenchError, match=r"network/tokenizer\.json is missing"):
        exported_model.load(folder)


def test_another_version_of_the_strategy_is_refused(images, tmp_path):
    folder = copied(images.folder, tmp_path)
    strategy = json.loads((folder / "config.json").read_text())["strategy"]
    rewritten(folder, strategy=strategy | {"version": 99})
    with pytest.raises(TlbenchError, match="lora version 99, this tlbench has 1"):
        exported_model.load(folder)


def test_another_format_is_refused(images, tmp_path):
    folder = copied(images.folder, tmp_path)
    rewritten(folder, format=2)
    with pytest.raises(TlbenchError, match="format 2, this tlbench reads 1"):
        exported_model.load(folder)


def test_an_unknown_strategy_is_told(images, tmp_path):
    folder = copied(images.folder, tmp_path)
    rewritten(folder, strategy={"name": "lorra", "version": 1, "hyperparameters": {}})
    with pytest.raises(TlbenchError, match="did you mean 'lora'"):
        exported_model.load(folder)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda t: t.pop("network.trunk.blocks.0.norm1.weight"), "norm1.weight is missing"),
        (lambda t: t.pop("state.theta"), "lacks the tensor 'state.theta'"),
        (lambda t: t.update({"network.trunk.blocks.0.norm1.weight": torch.ones(3)}), r"\[3\], not \[64\]"),
        (lambda t: t.update({"state.theta": torch.ones(3)}), "do not fit their strategy and network"),
        (lambda t: t["network.trunk.blocks.0.norm1.weight"].mul_(2), "fingerprint"),
    ],
)
def test_other_tensors_than_those_exported_are_refused(images, tmp_path, spoil, said):
    folder = copied(images.folder, tmp_path)
    tensors = load_file(folder / "model.safetensors")
    spoil(tensors)
    save_file(tensors, folder / "model.safetensors")
    rewritten(folder)
    with pytest.raises(TlbenchError, match=said):
        exported_model.load(folder)


# ---- nothing else is overwritten


def test_a_folder_with_other_files_is_never_overwritten(images, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(TlbenchError, match=r"notes\.txt"):
        exported.refuse_other(tmp_path)
    folder = copied(images.folder, tmp_path)
    exported.refuse_other(folder)
    (folder / "extra.txt").write_text("mine")
    with pytest.raises(TlbenchError, match=r"extra\.txt"):
        exported.refuse_other(folder)


def test_a_readme_alone_is_no_export(tmp_path):
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(TlbenchError, match="no export wrote"):
        exported.refuse_other(tmp_path)
    (tmp_path / "README.md").unlink()
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(TlbenchError, match="no export wrote"):
        exported.refuse_other(tmp_path)


@pytest.mark.parametrize("kind", ["images", "texts"])
def test_an_earlier_export_is_replaced_as_a_whole(images, texts, tmp_path, kind):
    earlier = images if kind == "images" else texts
    folder = copied(earlier.folder, tmp_path)
    exported.refuse_other(folder)
    exported.write(images.advice, images.refit, folder)
    assert exported_model.load(folder).classes == ("one", "two", "zero")
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]
    assert not (folder / "network").exists()


def test_nothing_is_exported_where_nothing_is_advised(images, tmp_path):
    none = replace(images.advice, findings=replace(images.advice.findings, advised=None))
    with pytest.raises(TlbenchError, match="nothing is exported"):
        exported.export(none, tmp_path / "model", device="cpu")
    assert not (tmp_path / "model").exists()


# ---- predictions of new inputs


def predicted(*words: object) -> tuple[int, list[dict[str, str]], str]:
    answer = CliRunner().invoke(app, ["predict", *map(str, words)])
    return answer.exit_code, list(csv.DictReader(answer.stdout.splitlines())), answer.stderr


def test_files_and_folders_of_images_are_named(images, place):
    code, rows, _ = predicted(images.folder, place / "scans", next((place / "scans" / "one").iterdir()))
    assert code == 0 and len(rows) == 19
    assert {row["class"] for row in rows} <= {"zero", "one", "two"}
    model, first = exported_model.load(images.folder), rows[0]
    pixels = np.asarray(Image.open(first["input"]).convert("RGB"))[None]
    guess = model.guesses(pixels)[0][0]
    assert guess.probability == pytest.approx(float((model.logits(pixels) / 2).softmax(1).max()))
    assert (first["class"], first["probability"]) == (guess.name, f"{guess.probability:.4f}")


def test_the_top_classes_come_best_first_and_sum_to_one(images, place):
    _, rows, _ = predicted(images.folder, next((place / "scans" / "one").iterdir()), "--top", 9)
    shares = [float(row["probability"]) for row in rows]
    assert len(rows) == 3 and shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1, abs=1e-3)


def test_unreadable_images_are_told_and_counted(images, place, tmp_path):
    shutil.copytree(place / "scans" / "one", tmp_path / "new")
    (tmp_path / "new" / "broken.png").write_bytes(b"no image")
    (tmp_path / "new" / "notes.txt").write_text("no image, and not called one")
    code, rows, said = predicted(images.folder, tmp_path / "new")
    assert code == 1 and len(rows) == 6
    assert "broken.png: file cannot be decoded as an image" in said and "1 of 7 inputs could not be read" in said


def test_texts_come_quoted_by_line_and_by_column(texts, tmp_path):
    lines, table = tmp_path / "new.txt", tmp_path / "new.csv"
    lines.write_text("sum of an array\n\ndraw a line, on the figure\n")
    table.write_text('id,words\n1,"sum of an array"\n2,"draw a line, on the figure"\n')
    _, quoted, _ = predicted(texts.folder, "sum of an array", "draw a line, on the figure")
    code, by_line, said = predicted(texts.folder, lines)
    assert code == 1 and "empty text" in said
    assert quoted == by_line == predicted(texts.folder, table, "--text", "words")[1]
    assert [row["input"] for row in quoted] == ["sum of an array", "draw a line, on the figure"]


def test_a_table_without_the_column_is_told(texts, tmp_path):
    table = tmp_path / "new.csv"
    table.write_text("id,words\n1,a\n")
    code, _, said = predicted(texts.folder, table)
    assert code == 2 and "--text COLUMN" in said and "'words'" in said
    code, _, said = predicted(texts.folder, table, "--text", "word")
    assert code == 2 and "did you mean 'words'" in said


def test_a_very_long_text_is_cut_and_predicted(texts):
    code, rows, _ = predicted(texts.folder, "sum of an array " * 30_000)
    assert code == 0 and len(rows) == 1


def test_predictions_go_to_a_file(images, place, tmp_path):
    answer = CliRunner().invoke(
        app, ["predict", str(images.folder), str(place / "scans"), "--out", str(tmp_path / "out.csv")]
    )
    assert answer.exit_code == 0 and "18 inputs" in answer.stdout
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 19


@pytest.mark.parametrize("words", [("nowhere.png",), ("/",)])
def test_what_is_not_there_is_told_before_anything_is_written(images, tmp_path, words):
    out = tmp_path / "out.csv"
    target = [str(tmp_path) if word == "/" else word for word in words]
    code, _, said = predicted(images.folder, *target, "--out", out)
    assert code == 2 and "there is no" in said and not out.exists()
