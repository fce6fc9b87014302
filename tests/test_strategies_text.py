"""Strategies on texts: the same files as on images, and TF-IDF against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from torch import nn

import tlbench.strategies  # noqa: F401 - registers
from tlbench import contract, contract_text, rng, space
from tlbench.contract_laws import LAWS, judged
from tlbench.contract_toy import CLASSES, ROWS, Toy
from tlbench.engine import Lane, Network, Pack
from tlbench.registry import STRATEGIES, load_plugin
from tlbench.strategies import gradient
from tlbench.strategies.modules import fresh
from tlbench.types import TaskShape

ON_TEXT = (
    "majority", "nearest_mean", "tfidf_logistic", "linear_probe", "full_finetune", "partial_freeze", "lora", "adapter",
    "bitfit", "from_scratch",
)  # fmt: skip
PLUGIN = '''\
"""Only the head and the norms train, on whatever network there is."""

from torch import nn

from tlbench.registry import register
from tlbench.space import Float
from tlbench.strategies.gradient import GradientStrategy
from tlbench.strategies.modules import Classifier, features_dim, thawed


@register.strategy
class {title}(GradientStrategy):
    """The weights of norms and a linear head train."""

    name = "{name}"
    tap = "blocks.0"
    space = {{"lr": Float(1e-4, 1e-1, log=True, default=1e-2)}}
{more}
    def module(self, task, hp):
        tail = thawed(task.tail).requires_grad_(False)
        for module in tail.modules():
            if isinstance(module, nn.LayerNorm):
                module.requires_grad_(True)
        return Classifier(tail, features_dim(task.tail, task.x[:1]), task.num_classes)
'''
TEXT_ONLY = """
    def skip(self, shape):
        return None if shape.modality == "text" else "words only"
"""


@pytest.fixture(scope="module")
def network():
    return contract_text.network()


@pytest.mark.parametrize("name", ON_TEXT)
@pytest.mark.parametrize("law", ["shapes", "purity", "company", "padding", "own row", "resume", "learning"])
def test_built_in_strategies_keep_the_laws_on_texts(network, law, name):
    found = judged(law, Toy(STRATEGIES[name], network))
    assert found.ok, found.message
    if law == "company":
        assert found.verdict == ("note" if name == "tfidf_logistic" else "kept")


def written(folder, name, more=""):
    file = folder / f"{name}.py"
    file.write_text(PLUGIN.format(name=name, title=name.title().replace("_", ""), more=more))
    return file


def test_the_same_plug_in_runs_unchanged_on_images_and_on_texts(tmp_path, network):
    findings = contract.check(written(tmp_path, "norms_only"))
    assert contract.ok(findings), contract.report(findings)
    load_plugin(str(tmp_path / "norms_only.py"))
    on_texts = [judged(law, Toy(STRATEGIES["norms_only"], network)) for law in LAWS if law != "labels"]
    assert contract.ok(on_texts), contract.report(on_texts)


def test_a_strategy_for_texts_alone_is_checked_on_texts(tmp_path):
    findings = contract.check(written(tmp_path, "norms_of_words", TEXT_ONLY))
    assert contract.ok(findings), contract.report(findings)
    assert len(findings) == len(LAWS)


def test_fused_lanes_agree_with_lanes_alone_step_for_step(network):
    for name in ("full_finetune", "partial_freeze", "lora", "adapter", "bitfit", "from_scratch"):
        toy = Toy(STRATEGIES[name], network)
        alone, fused = (toy.pack(toy.lanes(4), width=width) for width in (1, 4))
        for pack in (alone, fused):
            pack.start()
        for step in range(1, 11):
            alone.advance(step)
            fused.advance(step)
            for one, other in zip(alone.states, fused.states, strict=True):
                torch.testing.assert_close(one["theta"], other["theta"], rtol=1e-3, atol=1e-4, msg=f"{name} {step}")


def test_nothing_of_a_training_step_stays_in_the_network(network):
    toy = Toy(STRATEGIES["full_finetune"], network)
    pack = toy.pack(toy.lanes(3))
    pack.start()
    pack.advance(2)
    program = pack.strategy._built(pack.task(0), pack.static).network
    assert program.tail.stem.running.mask.numel() == 0
    assert program.tail.stem.running.given == {}


def grams(ids):
    """Tokens and pairs of neighbours of a row, as strings."""
    words = [str(i) for i in ids if i >= 0]
    return words + [f"{a} {b}" for a, b in zip(words, words[1:], strict=False)]


@pytest.mark.parametrize("strength", [0.1, 10.0, 1000.0])
def test_tfidf_is_scikit_learns_on_the_same_tokens(network, strength):
    y = torch.arange(ROWS) % CLASSES
    ids = network.encoded(contract_text.texts(y))
    x = torch.from_numpy(ids).long()
    strategy, rows = STRATEGIES["tfidf_logistic"](), 24
    lane = Lane({"C": strength}, torch.arange(rows), y[:rows], seed=0)
    net = Network(x, network.tail("input"), network.scratch().tail("input"), CLASSES)
    pack = Pack(strategy, net, [lane], steps=1, batch_size=8)
    pack.start()
    vectorizer = TfidfVectorizer(analyzer=grams, sublinear_tf=True)
    train = vectorizer.fit_transform(list(ids[:rows]))
    reference = LogisticRegression(C=strength, tol=1e-10, max_iter=20_000).fit(train, y[:rows].numpy())
    expected = reference.predict_proba(vectorizer.transform(list(ids)))
    np.testing.assert_allclose(pack.predict(x)[0].softmax(1).numpy(), expected, atol=2e-3)
    assert strategy.parameters(pack.task(0), {}) == (CLASSES * (train.shape[1] + 1),) * 2


def test_a_text_without_a_known_word_gets_the_intercepts_alone(network):
    strategy, y = STRATEGIES["tfidf_logistic"](), torch.tensor([0, 0, 0, 1])
    x = torch.tensor([[0, 4, 5, -1], [0, 4, 4, 5], [0, 5, 4, -1], [0, 6, 7, 8]])
    net = Network(x, network.tail("input"), network.scratch().tail("input"), 2)
    pack = Pack(strategy, net, [Lane({"C": 10.0}, torch.arange(4), y, seed=0)], steps=1, batch_size=8)
    pack.start()
    logits = pack.predict(torch.tensor([[20, 21, -1, -1], [-1, -1, -1, -1], [0, 6, 7, 8]]))[0]
    assert torch.equal(logits[0], logits[1])
    assert logits[0].argmax() == 0  # the class of most texts
    assert logits[2].argmax() == 1


def test_floors_say_which_inputs_they_cannot_read():
    text, image = (TaskShape(10, 2, modality) for modality in ("text", "image"))
    assert STRATEGIES["pixels_logistic"]().skip(text) == "texts have no pixels"
    assert STRATEGIES["pixels_logistic"]().skip(image) is None
    assert STRATEGIES["tfidf_logistic"]().skip(image) == "images have no words to count"
    assert STRATEGIES["tfidf_logistic"]().skip(text) is None


def test_learning_rates_are_lower_on_large_networks_and_span_as_much():
    for name in ("full_finetune", "lora", "adapter", "bitfit", "from_scratch"):
        both = STRATEGIES[name].space
        small, large = space.on(1_000_000, both), space.on(22_000_000, both)
        assert small == both
        assert large["lr"].default < small["lr"].default
        assert large["lr"].high / large["lr"].low >= 10**2.5 * (1 - 1e-9)
        assert [type(p) for p in large.values()] == [type(p) for p in small.values()]


def test_fresh_weights_keep_the_row_of_padding(network):
    table = nn.Embedding(9, 4, padding_idx=2)
    drawn = fresh(nn.Sequential(table))[0].weight
    value = gradient._first_value(drawn, rng.key(5))
    assert torch.equal(value[2], torch.zeros(4))
    assert (value[[0, 1, 3, 8]] != table.weight[[0, 1, 3, 8]]).all()
