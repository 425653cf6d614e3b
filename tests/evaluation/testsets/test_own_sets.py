"""Test sets of the users' own, right and damaged."""

import io

import numpy as np
import pytest

from apsite.errors import DatasetError
from apsite.evaluation.testsets import own_sets
from apsite.evaluation.testsets.own_sets import MAX_CLASSES, read_own_set

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 3, 4, 5), np.uint8)
LABELS = np.array([2, 0, 0, 3, 2, 2])


def npz(path, **changes):
    """File of six images and their labels, but for the changes; ``None`` leaves an array out."""
    arrays = {"images": PIXELS, "labels": LABELS} | changes
    np.savez_compressed(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


@pytest.mark.parametrize(
    "stored",
    [
        PIXELS,
        PIXELS.transpose(0, 2, 3, 1),
        np.asfortranarray(PIXELS),
        np.ascontiguousarray(PIXELS.transpose(0, 2, 3, 1)),
    ],
)
def test_the_channels_of_an_npz_may_be_first_or_last(tmp_path, stored):
    found = read_own_set(npz(tmp_path / "set.npz", images=stored))
    assert np.array_equal(found.images, PIXELS)
    assert found.images.flags.c_contiguous
    assert found.images.flags.writeable
    assert (found.images.dtype, found.labels.dtype) == (np.uint8, np.int64)
    assert np.array_equal(found.labels, LABELS)
    assert found.shape == (3, 4, 5)
    assert found.class_names == ("0", "1", "2", "3")
    assert found.class_counts == (2, 0, 3, 1)
    assert len(found) == 6


@pytest.mark.parametrize("axis", [1, 3])
def test_the_channel_of_grey_images_is_repeated(tmp_path, axis):
    found = read_own_set(npz(tmp_path / "set.npz", images=np.expand_dims(PIXELS[:, 0], axis)))
    assert np.array_equal(found.images, np.repeat(PIXELS[:, :1], 3, 1))


@pytest.mark.parametrize("kind", ["u1", ">i2", "<u8"])
def test_labels_may_be_any_integers_and_names_may_be_of_classes_without_images(tmp_path, kind):
    names = ["no entry", "Überholverbot", "停", "yield", "stop"]
    found = read_own_set(npz(tmp_path / "set.npz", labels=LABELS.astype(kind), class_names=np.array(names)))
    assert found.labels.dtype == np.int64
    assert np.array_equal(found.labels, LABELS)
    assert found.class_names == tuple(names)
    assert found.class_counts == (2, 0, 3, 1, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": PIXELS / 255}, r"images: is float64; save uint8 with values 0\.\.255, \(images \* 255\)"),
        ({"images": PIXELS.astype(int)}, r"images: is int64; save uint8 .* images\.astype\(np\.uint8\)$"),
        ({"images": PIXELS[:, 0]}, r"images: has shape \(6, 4, 5\), where no axis is the channels; .* images\[\.\.\."),
        ({"images": PIXELS[:, :2]}, r"shape \(6, 2, 4, 5\), where no axis is the channels; allowed are"),
        ({"images": PIXELS[..., :3]}, r"shape \(6, 3, 4, 3\), where both could be the channels"),
        ({"images": PIXELS[:0], "labels": LABELS[:0]}, r"images: has shape \(0, 3, 4, 5\), so it holds no pixels"),
        ({"images": None}, "holds no array 'images'; save it with"),
        ({"labels": None}, "holds no array 'labels'; save it with"),
        ({"class_name": LABELS}, "holds an array 'class_name'; allowed are images, labels, class_names"),
        ({"labels": LABELS[1:]}, "labels: there are 5 for 6 images; save one per image"),
        ({"labels": LABELS[:0]}, "labels: there are 0 for 6 images"),
        ({"labels": LABELS - 1}, "labels: is -1 at 1; allowed are 0..32,766; number the classes from 0"),
        ({"labels": np.where(LABELS == 3, MAX_CLASSES, 0)}, "labels: is 32767 at 3; allowed are 0..32,766"),
        ({"labels": np.full(6, 2**64 - 1, np.uint64)}, "labels: is 18446744073709551615 at 0"),
        ({"labels": LABELS.astype(float)}, r"labels: is float64 of shape \(6,\); .* save labels\.astype\(np\.int64\)"),
        ({"labels": np.where(LABELS, np.nan, 1)}, r"labels: is float64 .* with NaN at 0; .* leave out images without"),
        ({"labels": np.eye(6, 4, dtype=int)}, r"labels: is int64 of shape \(6, 4\); .* labels\.argmax\(1\)"),
        ({"labels": np.array(["cat"] * 6)}, r"labels: is <U3 of shape \(6,\); allowed are integers"),
        ({"labels": np.zeros(6, int)}, "has 1 classes; allowed are 2..32,767"),
        ({"class_names": np.array(["a", "b", "c"])}, "class_names: names 3 classes, but the largest label is 3"),
        ({"class_names": np.array([b"a"] * 4)}, r"class_names: is \|S1 of shape \(4,\); save a list of texts"),
        ({"class_names": np.array(["a", "b", "c", "a"])}, "name 'a' of class 3 is also the name of class 0"),
        ({"class_names": np.array(["a", "b", "c", ""])}, "name '' of class 3 is empty"),
        ({"class_names": np.array(["a", "b", "c", "\x1b[2J"])}, r"name '\\x1b\[2J' of class 3 holds"),
        ({"class_names": np.array([str(n) for n in range(40_000)])}, "has 40,000 classes"),
        ({"class_names": np.array(["a", None], object)}, "class_names holds objects, which could run code when read"),
    ],
)  # fmt: skip
def test_what_an_npz_must_not_hold_is_one_line_that_says_how_to_save_it(tmp_path, changes, message):
    path = npz(tmp_path / "set.npz", **changes)
    with pytest.raises(DatasetError, match=message) as caught:
        read_own_set(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def damaged(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "change", [damaged, lambda content: content[:-1], lambda content: b"", lambda content: b"text" * 9]
)
def test_a_damaged_npz_is_refused(tmp_path, change):
    path = npz(tmp_path / "set.npz")
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DatasetError, match=r"set\.npz: is not a readable \.npz file \(.*\); save it with np\.savez\("):
        read_own_set(path)


def test_what_an_npz_may_take_is_limited_before_it_is_unpacked(tmp_path, monkeypatch):
    path = npz(tmp_path / "set.npz", images=np.zeros((6, 3, 100, 100), np.uint8))
    monkeypatch.setattr(own_sets, "MAX_BYTES", 100_000)
    with pytest.raises(DatasetError, match=r"images\.npy would take 180,128 bytes; at most 100,000 are allowed"):
        read_own_set(path)
    monkeypatch.setattr(own_sets, "MAX_BYTES", 400)
    with pytest.raises(DatasetError, match="at most 400 are allowed; keep a part of the images"):
        read_own_set(path)


def test_a_missing_set_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"is not a file; name the \.npz file"):
        read_own_set(tmp_path / "set.npz")


def test_what_numpy_writes_to_a_stream_is_read(tmp_path):
    stream = io.BytesIO()
    np.savez(stream, images=PIXELS, labels=LABELS)
    (tmp_path / "set").write_bytes(stream.getvalue())
    assert np.array_equal(read_own_set(tmp_path / "set").images, PIXELS)
