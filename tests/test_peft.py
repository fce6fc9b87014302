"""Low-rank branches against the peft library's, at the same weights."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from toy_text import SENTENCES, saved

import tlbench.strategies  # noqa: F401 - registers
from tlbench import backbones, rng, space
from tlbench.registry import STRATEGIES
from tlbench.strategies.gradient import schedule
from tlbench.strategies.modules import LowRank
from tlbench.task import Clock, Task

peft = pytest.importorskip("peft")
CLASSES = 3


class Peft(nn.Module):
    """peft's LoRA on every linear layer of transformers' own model, mean pooling and a linear head."""

    def __init__(self, folder, rank):
        import transformers

        super().__init__()
        model = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager")
        where = r"encoder\.layer\.\d+\..*(query|key|value|dense)"
        self.model = peft.get_peft_model(
            model, peft.LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=where)
        ).eval()
        self.head = nn.Linear(model.config.hidden_size, CLASSES)

    def forward(self, ids):
        mask = (ids >= 0).long()
        hidden = self.model(input_ids=ids.clamp_min(0), attention_mask=mask).last_hidden_state
        return self.head((hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))

    def take(self, module):
        """The weights of our module: the head, and every branch by the name of its layer."""
        self.head.weight.data, self.head.bias.data = module.weight.data, module.bias.data
        theirs = {name.removeprefix("base_model.model."): layer for name, layer in self.model.named_modules()}
        count = 0
        for name, branch in module.tail.named_modules():
            if isinstance(branch, LowRank):
                number, _, inner = name.removeprefix("blocks.").partition(".layer.")
                layer = theirs[f"encoder.layer.{number}.{inner}"]
                layer.lora_A["default"].weight.data = branch.down.data
                layer.lora_B["default"].weight.data = branch.up.data
                count += 1
        assert count == sum(hasattr(layer, "lora_A") for layer in theirs.values()) == 3 * 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("peft") / "tiny_for_peft")


def task_of(network):
    ids = torch.from_numpy(network.encoded(SENTENCES))
    with torch.no_grad():
        x = network.prefix("blocks.0")(ids)
    y = torch.arange(len(ids)) % CLASSES
    return ids, Task(x, y, torch.ones(len(ids)), CLASSES, network.tail("blocks.0"), network.scratch().tail("blocks.0"))


def with_values(module, theta):
    """A copy of the module in which the trained numbers are written."""
    module = copy.deepcopy(module)
    trained = [p for p in module.parameters() if p.requires_grad]
    with torch.no_grad():
        for p, values in zip(trained, theta.split([p.numel() for p in trained]), strict=True):
            p.copy_(values.view(p.shape))
    return module


@pytest.mark.parametrize("rank", [4, 8])
def test_lora_gives_the_logits_of_peft_at_the_same_weights(folder, rank):
    network, strategy = backbones.get(f"hf:{folder}"), STRATEGIES["lora"]()
    ids, task = task_of(network)
    hp = {**space.defaults(strategy.space), "rank": rank}
    state = strategy.init(task, hp, rng.key(0))
    theta = 0.3 * rng.normal(rng.key(1), tuple(state["theta"].shape))  # no branch is at its zero any more
    other = Peft(folder, rank)
    other.take(with_values(strategy.module(task, {"rank": rank}), theta))
    with torch.no_grad():
        ours, theirs = strategy.predict(task, hp, {**state, "theta": theta}, task.x), other(ids)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert theirs.std(0).min() > 0.01


def test_a_step_of_lora_is_a_step_of_peft_with_adamw(folder):
    network, strategy, lr = backbones.get(f"hf:{folder}"), STRATEGIES["lora"](), 1e-3
    ids, task = task_of(network)
    hp = {"lr": torch.tensor(lr), "weight_decay": torch.tensor(0.01), "rank": 4}
    state = strategy.init(task, hp, rng.key(0))
    other = Peft(folder, 4)
    other.take(with_values(strategy.module(task, {"rank": 4}), state["theta"]))
    optimizer = torch.optim.AdamW([p for p in other.parameters() if p.requires_grad], lr=lr, eps=1e-6)
    for step in range(5):
        state = strategy.step(task, hp, state, Clock(torch.tensor(step), 20, 64))
        optimizer.param_groups[0]["lr"] = lr * float(schedule(Clock(torch.tensor(step), 20, 64)))
        optimizer.zero_grad()
        nn.functional.cross_entropy(other(ids), task.y).backward()
        optimizer.step()
    with torch.no_grad():
        torch.testing.assert_close(strategy.predict(task, hp, state, task.x), other(ids), rtol=1e-3, atol=1e-4)
