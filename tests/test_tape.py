"""Laws of recorded work: what a tape plays is what torch would do, bit for bit, or nothing is recorded."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tlbench import rng
from tlbench.kernels import tape
from tlbench.kernels.products import product
from tlbench.kernels.tape_memory import Memory, Seen, place


def numbers(*shape, seed=0):
    return rng.normal(rng.key(seed), shape)


def views(x, y):
    a, b = torch.stack([x, y.T]).unbind()
    return (a.T @ b)[1:], torch.cat([a, b], dim=1).t().reshape(3, -1)


def in_place(x, y):
    total = torch.zeros(8, 6)
    total[2:6] += x
    total[:, 1].mul_(2).add_(x.sum())
    return total.scatter_add(0, torch.tensor([[0, 1, 0, 1, 2, 2]]), x[:1]), total


def masked(x, y):
    return torch.where(x > 0, x, y.T), (x * (x > 0)).softmax(1).argmax(1)


def looked_up(x, y):
    order = torch.argsort(x[:, 0])
    return x[order], F.embedding(order, y), x.index_put((order,), y.T)


def normal(x, y):
    mean, deviation = torch.zeros(6), torch.ones(6)
    out = F.batch_norm(x, mean, deviation, training=True)
    return F.layer_norm(out, (6,), y[:, 0], y[:, 1]), mean, deviation


def convolved(x, y):
    images = torch.stack([x, y.T]).expand(3, 2, 4, 6).contiguous(memory_format=torch.channels_last)
    return F.gelu(F.conv2d(images, numbers(5, 2, 3, 3, seed=3), padding=1)), F.avg_pool2d(images, 2)


def with_gradients(x, y):
    weight = x.detach().clone().requires_grad_()
    with torch.enable_grad():
        loss = F.cross_entropy(F.gelu(weight @ y), torch.arange(4))
        return loss.detach(), *torch.autograd.grad(loss, weight)


def stacked(x, y):
    return torch.func.vmap(torch.func.grad(lambda row, column: (row.sin() @ column) ** 2))(x, y.T)


def by_numpy(x, y):
    return product(x[None], y[None]) + 1


WORK = [views, in_place, masked, looked_up, normal, convolved, with_gradients, stacked, by_numpy]


@pytest.mark.parametrize("work", WORK)
def test_played_work_gives_the_same_bits_for_other_inputs(work):
    inputs = [numbers(4, 6, seed=1), numbers(6, 4, seed=2)]
    first, recording = tape.recorded(lambda: work(*inputs), inputs)
    assert same(first, work(*inputs))
    for seed in (3, 5):
        for i, tensor in enumerate(inputs):
            tensor.copy_(numbers(*tensor.shape, seed=seed + i))
        assert same(recording.play(), work(*inputs))


def same(found, expected):
    pairs = zip(tape.tensors(found), tape.tensors(expected), strict=True)
    return all(a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)


def test_what_a_play_overwrites_is_what_the_last_one_gave():
    x = torch.ones(3)
    first, recording = tape.recorded(lambda: x * 2, x)
    second = recording.play()
    x.fill_(5)
    recording.play()
    assert first.tolist() == [2, 2, 2] and second.tolist() == [10, 10, 10]


def chance(x):
    return x + torch.rand(3)


def read_number(x):
    return x * float(x.sum())


def chosen_rows(x):
    return x[x > 0].sum()


def given_memory(x):
    return x.add_(1)


OUTSIDE = torch.zeros(3)


def memory_of_others(x):
    OUTSIDE.copy_(x)
    return OUTSIDE + 1


def no_plain_tensor(x):
    return torch.complex(x, x).conj() * 2


@pytest.mark.parametrize("work", [chance, read_number, chosen_rows, given_memory, memory_of_others, no_plain_tensor])
def test_work_that_may_go_another_way_is_not_recorded(work):
    x = torch.ones(3)
    with pytest.raises(tape.Unrecordable):
        tape.recorded(lambda: work(x), x)


def test_a_refusal_leaves_nothing_recording():
    x = torch.ones(3)
    with pytest.raises(tape.Unrecordable):
        tape.recorded(lambda: chance(x), x)
    with pytest.raises(ZeroDivisionError):
        tape.recorded(lambda: x / (1 // 0), x)
    _, recording = tape.recorded(lambda: x + 1, x)
    assert recording.play().tolist() == [2, 2, 2]


def test_work_that_torch_does_not_see_is_done_again_where_it_was_declared():
    def doubled(given, into):
        seen, out = given.numpy(), into.numpy()
        return lambda: np.multiply(seen, 2, out=out)

    def work():
        out = torch.empty(3)
        tape.filled(doubled, (x,), (out,))
        return out + 1

    x = torch.ones(3)
    _, recording = tape.recorded(work, x)
    x.fill_(4)
    assert recording.play().tolist() == [9, 9, 9]


def constants_changed_late(x):
    total = torch.zeros(3)
    before = total + 1
    return before, total.add_(x), total * before


def test_memory_is_named_anew_when_it_is_let_go_and_taken_again():
    def work():
        for _ in range(20):
            torch.sin(x).cos()  # its memory is free for what comes next
        total = torch.zeros(1000) + x
        for i in range(20):
            total = (total * 2 - i).cos() + torch.ones(1000)
        return constants_changed_late(x[:3]), total

    x = numbers(1000)
    _, recording = tape.recorded(work, x)
    for seed in (1, 2):
        x.copy_(numbers(1000, seed=seed))
        assert same(recording.play(), work())


@pytest.mark.parametrize("seed", range(20))
def test_memory_in_use_is_never_taken_and_free_memory_is(seed):
    draw = np.random.default_rng(seed)
    tensors = [torch.zeros(int(draw.integers(1, 300))) for _ in range(30)]
    names = [place(t) for t in tensors]
    seen = [Seen(place(t), t.dtype, t.shape, t.stride(), 0, None) for t in tensors]
    uses = [([names[j] for j in draw.integers(max(0, i - 4), i + 1, size=2) if j < i], [names[i]]) for i in range(30)]
    sizes = {name: t.untyped_storage().nbytes() for name, t in zip(names, tensors, strict=True)}
    memory = Memory(sizes, uses, kept=names[3:4])
    last = {name: i for i, (reads, writes) in enumerate(uses) for name in (*reads, *writes)} | {names[3]: 30}
    spans = {name: span(memory.moved(each)) for name, each in zip(names, seen, strict=True)}
    for i, name in enumerate(names):
        for other in names[:i]:
            if last[other] >= i:
                assert spans[name][1] <= spans[other][0] or spans[other][1] <= spans[name][0]
    assert max(end for _, end in spans.values()) - min(start for start, _ in spans.values()) < sum(sizes.values())


def span(tensor):
    return tensor.data_ptr(), tensor.data_ptr() + tensor.nbytes
