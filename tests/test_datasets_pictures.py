"""Pictures of every kind become the pixels that the usual transform would give, or are left out with a reason."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlbench.datasets import base, cache, pictures, pieces
from tlbench.datasets.pictures import Pictures, Unusable, common_side, decoded, pixels
from tlbench.types import Arrays, Card, TlbenchError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore::PIL.Image.DecompressionBombWarning")


def smooth(width: int, height: int, seed: int = 0) -> Image.Image:
    rng = np.random.Generator(np.random.PCG64(seed))
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3)).astype(np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "PNG", **settings: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (64, 64), (301, 300), (30, 47), (2000, 17)])
def test_pictures_are_resized_and_cut_as_torchvision_does(size: tuple[int, int]) -> None:
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

    image = smooth(*size)
    usual = Compose([Resize(64, InterpolationMode.BICUBIC), CenterCrop(64)])
    difference = np.abs(pixels(image, 64).astype(int) - np.asarray(usual(image)))
    assert difference.max() <= 2
    assert difference.mean() < 0.05


def test_a_very_large_photograph_is_decoded_at_a_fraction_and_looks_the_same() -> None:
    image = smooth(2400, 1800)
    difference = pixels(encoded(image, "JPEG", quality=95), 64).astype(float) - pixels(image, 64)
    assert np.abs(difference).mean() < 1.5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_as_its_camera_was(orientation: int) -> None:
    upright = smooth(48, 48)
    flip, turn = Image.Transpose, Image.Transpose
    back = {1: None, 2: flip.FLIP_LEFT_RIGHT, 3: turn.ROTATE_180, 4: flip.FLIP_TOP_BOTTOM, 5: turn.TRANSPOSE}
    back |= {6: turn.ROTATE_90, 7: turn.TRANSVERSE, 8: turn.ROTATE_270}
    method = back[orientation]
    stored = upright if method is None else upright.transpose(method)
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(pixels(encoded(stored, "PNG", exif=exif), 48), np.asarray(upright))


def test_every_kind_of_pixel_becomes_rgb() -> None:
    colour = smooth(32, 32)
    grey = colour.convert("L")
    rgb = np.asarray(colour).astype(int)
    assert np.array_equal(pixels(encoded(colour), 32), rgb)
    assert np.array_equal(pixels(encoded(grey), 32), np.repeat(np.asarray(grey)[..., None], 3, 2))
    assert np.abs(pixels(encoded(colour.quantize(256)), 32) - rgb).mean() < 12
    assert np.abs(pixels(encoded(colour.convert("CMYK"), "TIFF"), 32) - rgb).max() <= 1
    assert set(np.unique(pixels(encoded(grey.convert("1")), 32))) == {0, 255}


def test_sixteen_bits_are_cut_to_the_upper_eight() -> None:
    values = (np.arange(32 * 32).reshape(32, 32) * 64).astype(np.uint16)
    image = Image.fromarray(values)
    assert np.array_equal(pixels(encoded(image), 32)[..., 0], values >> 8)
    assert np.array_equal(pixels(encoded(image, "TIFF"), 32)[..., 0], values >> 8)


def test_what_is_transparent_is_white() -> None:
    colour = smooth(32, 32)
    see_through = colour.copy()
    see_through.putalpha(Image.fromarray(np.repeat([[0, 255]], 32, 0).repeat(16, 1).astype(np.uint8)))
    palette = Image.new("P", (32, 32), 0)
    found = pixels(encoded(see_through), 32)
    assert (found[:, :16] == 255).all()
    assert np.array_equal(found[:, 16:], np.asarray(colour)[:, 16:])
    assert (pixels(encoded(palette, "PNG", transparency=0), 32) == 255).all()
    assert (pixels(encoded(Image.new("LA", (32, 32), (0, 0))), 32) == 255).all()


def test_the_first_frame_of_several_is_taken() -> None:
    frames = [smooth(32, 32, seed).quantize(64) for seed in range(3)]
    file = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.array_equal(pixels(file, 32), np.asarray(Image.open(io.BytesIO(file)).convert("RGB")))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: b"", pictures.NOT_AN_IMAGE),
        (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", pictures.NOT_AN_IMAGE),
        (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", pictures.NOT_AN_IMAGE),
        (lambda: encoded(smooth(300, 300), "JPEG")[:2000], pictures.DAMAGED),
        (lambda: encoded(smooth(300, 300))[:5000], pictures.DAMAGED),
        (lambda: encoded(Image.new("1", (12_000, 9_000))), pictures.TOO_LARGE),
        (lambda: encoded(Image.new("1", (40_000, 9_000))), pictures.TOO_LARGE),
        (lambda: encoded(Image.fromarray(np.ones((9, 9), np.float32)), "TIFF"), pictures.FLOATING),
        (lambda: Path("/nowhere/at/all.jpg"), pictures.MISSING),
        (lambda: Path("/"), pictures.UNREADABLE),
    ],
    ids=["empty", "EPS", "SVG", "half JPEG", "half PNG", "large", "bomb", "floats", "missing", "folder"],
)
def test_what_cannot_be_used_is_refused_with_its_reason(make, reason: str) -> None:
    with pytest.raises(Unusable, match=f"^{reason}$"):
        pixels(make(), 32)


def test_any_byte_may_be_wrong_and_no_picture_stops_the_others() -> None:
    rng = np.random.Generator(np.random.PCG64(3))
    for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"):
        whole = np.frombuffer(encoded(smooth(40, 30), kind), np.uint8)
        for _ in range(40):
            broken = whole.copy()
            broken[rng.integers(0, len(broken), 5)] = rng.integers(0, 256, 5)
            try:
                assert pixels(broken.tobytes(), 16).shape == (16, 16, 3)
            except Unusable:
                continue


def test_small_squares_keep_their_size_and_all_else_becomes_256() -> None:
    small = [encoded(smooth(64, 64, seed)) for seed in range(3)]
    assert common_side(Pictures(small), Pictures([b"broken", *small])) == 64
    assert common_side(Pictures(small), Pictures([encoded(smooth(64, 65))])) == 256
    assert common_side(Pictures(small), Pictures([smooth(32, 32)])) == 256
    assert common_side(Pictures([smooth(300, 300)])) == 256
    assert common_side(Pictures(small, 384), Pictures(small, 384)) == 384


def test_paths_bytes_and_images_give_the_same_in_order(tmp_path: Path) -> None:
    images = [smooth(30 + i, 40, i) for i in range(30)]
    data = [encoded(image) for image in images]
    files = [tmp_path / f"{i}.png" for i in range(30)]
    for file, content in zip(files, data, strict=True):
        file.write_bytes(content)
    expected = np.stack([pixels(image, 16) for image in images])
    for at, items in enumerate((images, data, files)):
        found = decoded(Pictures(items), tmp_path / f"{at}.npy", side=16, name="toy")
        assert np.array_equal(np.concatenate(list(found.x.pieces())), expected)
        assert np.array_equal(np.load(tmp_path / f"{at}.npy"), expected)
        assert found.kept.all()


def test_the_unreadable_ones_are_known_by_place_and_the_file_has_the_others(tmp_path: Path) -> None:
    data = [encoded(smooth(20, 20, i)) for i in range(9)]
    data[0], data[4], data[8] = b"x", data[4][:200], b""
    found = decoded(Pictures(data)[np.arange(9) != 1], tmp_path / "x.npy", side=20, name="toy")
    assert found.kept.tolist() == [False, True, True, False, True, True, True, False]
    assert found.reasons == {pictures.NOT_AN_IMAGE: 2, pictures.DAMAGED: 1}
    assert np.load(tmp_path / "x.npy").shape == (5, 20, 20, 3)


def arrays(pool: list[bytes], test: list[bytes], **changes: object) -> Arrays:
    pool_x: object = Pictures(pool)
    test_x: object = Pictures(test)
    whole = Arrays(pool_x, np.arange(len(pool)) % 2, test_x, np.arange(len(test)) % 2, ("a", "b"))  # type: ignore[arg-type]
    return whole._replace(**changes)


CARD = Card("toy", "image", None, "Toy.", "procedural", "toys", "numbers", "none")


def test_copies_of_test_pictures_leave_the_pool_on_disk(tmp_path: Path) -> None:
    pool = [encoded(smooth(32, 32, i)) for i in range(10)]
    test = [encoded(smooth(32, 32, 20 + i)) for i in range(4)]
    pool[3], pool[6] = test[1], b"broken"
    made, removed = base.prepared(arrays(pool, test, groups=np.arange(10)), CARD, tmp_path)
    assert removed == 1
    assert made.groups is not None
    assert made.groups.tolist() == [0, 1, 2, 4, 5, 7, 8, 9]
    assert made.pool_y.tolist() == [0, 1, 0, 0, 1, 1, 0, 1]
    assert made.excluded == {pictures.NOT_AN_IMAGE: 1}
    cache.write(tmp_path / "kept", {"pool_x": made.pool_x}, {}, place=tmp_path)
    expected = np.stack([pixels(pool[i], 32) for i in made.groups])
    assert np.array_equal(cache.read(tmp_path / "kept", "pool_x"), expected)


def test_pixels_and_their_pictures_have_one_fingerprint(tmp_path: Path) -> None:
    pool, test = ([encoded(smooth(32, 32, s + i)) for i in range(6)] for s in (0, 50))
    made, _ = base.prepared(arrays(pool, test), CARD, tmp_path)
    whole = arrays(
        pool, test, pool_x=np.stack([pixels(x, 32) for x in pool]), test_x=np.stack([pixels(x, 32) for x in test])
    )
    assert base.fingerprint(made) == base.fingerprint(base.prepared(whole, CARD)[0])


def test_a_large_test_set_is_cut_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "LARGEST_TEST", 4)
    pool, test = ([encoded(smooth(32, 32, s + i)) for i in range(10)] for s in (0, 50))
    made, _ = base.prepared(arrays(pool, test), CARD, tmp_path)
    assert np.bincount(made.test_y).tolist() == [2, 2]
    assert pieces.OnDisk(tmp_path / "test.npy").shape == (4, 32, 32, 3)


def test_pictures_for_one_part_only_or_of_texts_are_refused(tmp_path: Path) -> None:
    pool = [encoded(smooth(32, 32, i)) for i in range(4)]
    with pytest.raises(TlbenchError, match="one of pool_x and test_x is Pictures"):
        base.prepared(arrays(pool, pool, test_x=np.zeros((4, 32, 32, 3), np.uint8)), CARD, tmp_path)
    with pytest.raises(TlbenchError, match="pool_x has 0 pictures"):
        base.prepared(arrays([], pool), CARD, tmp_path)
    with pytest.raises(TlbenchError, match=r"no test image can be used \(file cannot be decoded as an image: 2\)"):
        base.prepared(arrays(pool, [b"a", b"b"]), CARD, tmp_path)


@pytest.mark.parametrize("piece", [1, 100, 10**6])
def test_rows_on_disk_are_read_in_pieces_of_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(pieces, "PIECE", piece)
    x = np.arange(50 * 6).reshape(50, 2, 3).astype(np.int32)
    assert pieces.write(tmp_path / "x.npy", pieces.pieces(x), (60, 2, 3), x.dtype) == 50
    some = np.arange(50) % 7 > 2
    found = pieces.OnDisk(tmp_path / "x.npy")
    for rows, expected in ((found, x), (found[some], x[some]), (found[some][::2], x[some][::2])):
        assert np.array_equal(np.concatenate(list(rows.pieces())), expected)
        assert cache.content(rows) == cache.content(expected)
        assert rows.shape == expected.shape
