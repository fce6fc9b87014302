"""Randomness is a function of keys."""

import torch

from tlbench import rng


def test_the_hash_is_splitmix64():
    # The first three outputs of the reference generator seeded with 1234567 (Vigna's splitmix64.c).
    reference = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    found = rng.bits(rng.key(1234567), (3,)).tolist()
    assert found == [value & (2**63 - 1) for value in reference]


def test_a_seed_of_any_size_has_a_key():
    assert rng.key(2**256 + 5).item() == rng.key(2**256 + 5).item()
    assert rng.key(2**63).dtype == torch.int64


def test_draws_are_the_same_bits_alone_and_fused():
    keys = torch.stack([rng.key(seed) for seed in range(5)])
    fused = torch.func.vmap(lambda key: rng.normal(rng.fold_in(key, 3), (4, 2)))(keys)
    alone = torch.stack([rng.normal(rng.fold_in(key, 3), (4, 2)) for key in keys])
    assert torch.equal(rng.bits(keys[0], (6,)), rng.bits(keys[0], (2, 3)).flatten())
    torch.testing.assert_close(fused, alone, rtol=1e-6, atol=1e-6)


def test_a_longer_draw_begins_like_a_shorter_one():
    assert torch.equal(rng.bits(rng.key(0), (100,))[:10], rng.bits(rng.key(0), (10,)))


def test_normal_draws_have_mean_zero_and_deviation_one():
    draws = rng.normal(rng.key(7), (200_000,))
    assert abs(draws.mean()) < 0.01
    assert abs(draws.std() - 1) < 0.01
    assert torch.isfinite(draws).all()


def test_uniform_draws_stay_inside_zero_and_one():
    draws = rng.uniform(rng.key(1), (500_000,))
    assert 0 < draws.min() < 1e-4
    assert 1 - 1e-4 < draws.max() < 1


def test_folding_in_different_data_gives_unrelated_draws():
    a, b = (rng.uniform(rng.fold_in(rng.key(0), i), (10_000,)) for i in (0, 1))
    assert abs(torch.corrcoef(torch.stack([a, b]))[0, 1]) < 0.05


def test_ambient_puts_the_global_generator_back():
    before = torch.get_rng_state()
    with rng.ambient(3):
        first = torch.rand(2)
    with rng.ambient(3):
        second = torch.rand(2)
    assert torch.equal(first, second)
    assert torch.equal(before, torch.get_rng_state())
