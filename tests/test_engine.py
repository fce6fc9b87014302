"""The company law and its neighbours: a lane's result is its own."""

from __future__ import annotations

import pytest
import torch
from torch.utils import _pytree as pytree
from toy import lanes, network, pack

import tlbench.strategies  # noqa: F401 - registers
from tlbench import backbones, rng, space
from tlbench.engine import OutOfMemory, Pack
from tlbench.registry import STRATEGIES
from tlbench.strategies.finetune import FullFinetune
from tlbench.strategies.gradient import GradientStrategy
from tlbench.width import MachinePlan, width

BUILT_IN = [
    "adapter", "bitfit", "from_scratch", "full_finetune", "linear_probe", "lora", "majority", "nearest_mean",
    "partial_freeze", "pixels_logistic", "ridge_probe",
]  # fmt: skip
TRAINED = [name for name in BUILT_IN if STRATEGIES[name].trains]


def set_up(name: str, backbone: str = "glyph_vit", *, count: int = 4, rows: int = 20):
    strategy = STRATEGIES[name]()
    net, y = network(strategy, backbones.get(backbone), space.defaults(strategy.space))
    return strategy, net, lanes(strategy, y, count=count, rows=rows)


def theta(made: Pack) -> list[torch.Tensor]:
    return [torch.cat([leaf.flatten().double() for leaf in pytree.tree_leaves(state)]) for state in made.states]


def size(made: Pack) -> float:
    """Norm of all weights of a lane's network, trained and frozen."""
    network = made.strategy._built(made.task(0), made.static).network
    return float(torch.cat([p.detach().flatten() for p in network.parameters()]).norm())


@pytest.mark.parametrize("backbone", ["glyph_vit", "glyph_cnn"])
@pytest.mark.parametrize("name", TRAINED)
def test_states_agree_at_width_one_and_width_k_over_the_first_ten_steps(name, backbone):
    strategy, net, of = set_up(name, backbone)
    alone, fused = (pack(strategy, net, of, width=width) for width in (1, 4))
    for made in (alone, fused):
        made.start()
    for step in range(1, 11):
        for made in (alone, fused):
            made.advance(step)
        for a, b in zip(alone.states, fused.states, strict=True):
            # Relative to the whole network: biases of attention keys have no effect, so AdamW moves them by rounding.
            assert (b["theta"] - a["theta"]).norm() <= 1e-5 * size(alone), f"step {step}"
            fused.states = [pytree.tree_map(torch.clone, state) for state in alone.states]


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("name", TRAINED)
def test_lanes_take_the_steps_that_their_strategy_defines(name, width):
    strategy, net, of = set_up(name, count=3)
    made = pack(strategy, net, of, width=width)
    made.start()
    for number in range(10):
        defined = []
        for i, state in enumerate(made.states):
            entry = made._entry(i)
            defined.append(made._step(*entry, pytree.tree_map(torch.clone, state), made._clock(torch.tensor(number))))
        made.advance(number + 1)
        for found, state in zip(made.states, defined, strict=True):
            assert (found["theta"] - state["theta"]).norm() <= 1e-5 * size(made), f"step {number + 1}"


class Sgd(FullFinetune):
    optimizer = "sgd"


def test_lanes_that_sgd_moves_agree_at_width_one_and_width_k():
    _, net, of = set_up("full_finetune")
    alone, fused = (pack(Sgd(), net, of, width=width) for width in (1, 4))
    for made in (alone, fused):
        made.start()
        made.advance(5)
    for a, b in zip(alone.states, fused.states, strict=True):
        assert b["theta"].shape == a["theta"].shape
        assert (b["theta"] - a["theta"]).norm() <= 1e-5 * size(alone)


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_lane_does_not_depend_on_its_company(name):
    strategy, net, of = set_up(name)
    together, reversed_, single = pack(strategy, net, of), pack(strategy, net, of[::-1]), pack(strategy, net, of[1:3])
    for made in (together, reversed_, single):
        made.start()
        made.advance(3)
    x = net.bank[:12]
    expected = together.predict(x)
    for i, j in ((0, 3), (2, 1)):
        torch.testing.assert_close(reversed_.predict(x)[j], expected[i], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(single.predict(x)[0], expected[1], rtol=1e-3, atol=1e-3)


def test_lanes_dropped_and_admitted_on_the_way_change_nothing():
    strategy, net, of = set_up("lora", count=6)
    whole = pack(strategy, net, of)
    whole.start()
    whole.advance(6)
    first, second = pack(strategy, net, of[:4]), pack(strategy, net, of[4:])
    first.start()
    first.advance(3)
    first.keep([0, 2])
    second.start()
    first.admit(second)
    assert first.done == [3, 3, 0, 0]
    first.advance(6)
    for i, original in enumerate((0, 2, 4, 5)):
        torch.testing.assert_close(first.states[i]["theta"], whole.states[original]["theta"], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("rows", [8, 20])
@pytest.mark.parametrize("name", ["full_finetune", "lora", "linear_probe", "ridge_probe", "nearest_mean", "majority"])
def test_rows_of_weight_zero_change_nothing(name, rows):
    strategy, net, of = set_up(name, rows=rows, count=1)
    made = pack(strategy, net, of, batch=12)
    data, values, key = made._entry(0)
    padding = {
        "x": torch.cat([data["x"], 7 + torch.zeros_like(data["x"][:5])]),
        "y": torch.cat([data["y"], torch.zeros(5, dtype=torch.int64)]),
        "weight": torch.cat([data["weight"], torch.zeros(5)]),
    }
    states = []
    for view in (data, padding):
        state = made._init(view, values, key)
        for step in range(4):
            state = made._step(view, values, key, state, made._clock(torch.tensor(step)))
        states.append(made._predict(view, values, key, state, net.bank[:6]))
    torch.testing.assert_close(states[0], states[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_strategy_learns_separable_images(name):
    strategy, net, of = set_up(name, count=1, rows=40)
    hp = space.defaults(strategy.space)
    made = pack(strategy, net, [of[0]._replace(hp=hp)], steps=60, batch=20)
    made.start()
    made.advance(60)
    right = (made.predict(net.bank[of[0].rows])[0].argmax(1) == of[0].y).float().mean()
    assert right < 0.5 if name == "majority" else right > 0.9


@pytest.mark.parametrize("name", TRAINED)
def test_what_is_frozen_stays_frozen(name):
    strategy, net, of = set_up(name)
    before = [p.clone() for p in (*net.tail.parameters(), *net.scratch.parameters(), net.bank)]
    made = pack(strategy, net, of)
    made.start()
    made.advance(3)
    made.predict(net.bank[:4])
    after = [*net.tail.parameters(), *net.scratch.parameters(), net.bank]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    trainable, total = strategy.parameters(made.task(0), made.static)
    assert made.states[0]["theta"].numel() == trainable <= total


def test_memory_that_runs_out_halves_the_width_and_loses_nothing(monkeypatch):
    strategy, net, of = set_up("nearest_mean", count=6)
    expected = pack(strategy, net, of)
    expected.start()
    made = pack(strategy, net, of)
    init = made._init

    def greedy(data, values, key):
        if made.width > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return init(data, values, key)

    monkeypatch.setattr(made, "_init", greedy)
    made.start()
    assert made.width in (1, 2)
    torch.testing.assert_close(torch.stack(theta(made)), torch.stack(theta(expected)), rtol=1e-5, atol=1e-6)


def test_one_lane_that_does_not_fit_says_so(monkeypatch):
    strategy, net, of = set_up("nearest_mean", count=1)
    made = pack(strategy, net, of)
    monkeypatch.setattr(made, "_init", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("full")))
    with pytest.raises(OutOfMemory, match="nearest_mean"):
        made.start()


def test_logits_of_a_wrong_shape_are_refused_by_name():
    strategy, net, of = set_up("nearest_mean", count=1)
    made = pack(strategy, net, of)
    made.start()
    strategy.predict = lambda task, hp, state, x: x.flatten(1)[:, :2]
    with pytest.raises(Exception, match=r"nearest_mean.predict returned shape \(5, 2\)"):
        made.predict(net.bank[:5])


def test_a_module_that_draws_its_layers_comes_out_alike_every_time():
    class Careless(GradientStrategy):
        name = "careless"
        space = {"lr": space.Float(1e-4, 1e-1, log=True, default=1e-3)}

        def module(self, task, hp):
            return torch.nn.Linear(task.x.shape[1], task.num_classes)

    made = []
    for hidden in (1, 2):
        strategy = Careless()
        net, y = network(strategy, backbones.get("glyph_vit"), space.defaults(strategy.space))
        with rng.ambient(hidden):
            made.append(pack(strategy, net, lanes(strategy, y, count=1, rows=20)))
            made[-1].start()
    assert torch.equal(*(each.states[0]["theta"] for each in made))


class ShortOfMemory(FullFinetune):
    """Full fine-tuning on a device that holds the activations of 2 examples of one lane at once."""

    def augment(self, task, hp, x, keys):
        if x.shape[0] > 2:
            raise torch.OutOfMemoryError
        return super().augment(task, hp, x, keys)


class Hopeless(FullFinetune):
    def augment(self, task, hp, x, keys):
        raise torch.OutOfMemoryError


def test_a_minibatch_in_pieces_is_the_same_step():
    _, net, of = set_up("full_finetune", count=2, rows=24)
    plain, short = (pack(strategy, net, of, batch=8) for strategy in (FullFinetune(), ShortOfMemory()))
    for made in (plain, short):
        made.start()
        made.advance(5)
    assert (short.width, short.pieces, plain.pieces) == (1, 4, 1)
    for a, b in zip(theta(plain), theta(short), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_a_lane_of_which_not_one_example_fits_is_out_of_memory():
    _, net, of = set_up("full_finetune", count=2, rows=24)
    made = pack(Hopeless(), net, of)
    made.start()
    with pytest.raises(OutOfMemory, match="one lane of full_finetune does not fit"):
        made.advance(1)


@pytest.mark.parametrize("backbone", ["glyph_vit", "glyph_cnn"])
@pytest.mark.parametrize("name", TRAINED)
def test_lanes_of_the_embedded_networks_run_fused_on_a_processor(name, backbone):
    strategy, net, of = set_up(name, backbone)
    assert width(strategy, pack(strategy, net, of), MachinePlan()) >= 8
