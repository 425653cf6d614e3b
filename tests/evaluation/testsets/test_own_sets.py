"""Test sets of the users' own, right and damaged."""

import io
import os
import shutil
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

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
        ({"labels": np.zeros(6, int)}, "the number of classes is 1; allowed are 2..32,767"),
        ({"class_names": np.array(["a", "b", "c"])}, "class_names: names 3 classes, but the largest label is 3"),
        ({"class_names": np.array([b"a"] * 4)}, r"class_names: is \|S1 of shape \(4,\); save a list of texts"),
        ({"class_names": np.array(["a", "b", "c", "a"])}, "name 'a' of class 3 is also the name of class 0"),
        ({"class_names": np.array(["a", "b", "c", ""])}, "name '' of class 3 is empty"),
        ({"class_names": np.array(["a", "b", "c", "\x1b[2J"])}, r"name '\\x1b\[2J' of class 3 holds"),
        ({"class_names": np.array([str(n) for n in range(40_000)])}, "the number of classes is 40,000; allowed are"),
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
    with pytest.raises(DatasetError, match="at most 400 are allowed; save the images as files in class folders"):
        read_own_set(path)


def test_a_missing_set_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"is missing; name a folder of class folders, or an \.npz file saved with"):
        read_own_set(tmp_path / "set.npz")


def test_what_numpy_writes_to_a_stream_is_read(tmp_path):
    stream = io.BytesIO()
    np.savez(stream, images=PIXELS, labels=LABELS)
    (tmp_path / "set").write_bytes(stream.getvalue())
    assert np.array_equal(read_own_set(tmp_path / "set").images, PIXELS)


def picture(number: int, width: int = 5, height: int = 4) -> Image.Image:
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8))


@pytest.fixture
def folder(tmp_path):
    """Three images of cats, one of a cow and two of dogs; image `n` is ``picture(n)``."""
    folder = tmp_path / "animals"
    for number, name in enumerate(("dog/b.png", "dog/a.PNG", "cat/1.png", "cat/3.bmp", "cat/2.webp", "cow/x.png")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture(number).save(folder / name, **({"lossless": True} if name.endswith("webp") else {}))
    return folder


def test_class_folders_are_labelled_by_name_and_their_images_come_in_turns(folder):
    found = read_own_set(folder)
    assert found.class_names == ("cat", "cow", "dog")
    assert found.class_counts == (3, 1, 2)
    assert found.labels.tolist() == [0, 1, 2, 0, 2, 0]
    assert found.labels.dtype == np.int64
    assert found.shape == (3, 4, 5)
    expected = np.stack([np.asarray(picture(number)).transpose(2, 0, 1) for number in (2, 5, 1, 4, 0, 3)])
    assert np.array_equal(found.images[:], expected)
    assert np.array_equal(found.images.take(np.array([4, 1]))[:], expected[[4, 1]])


def test_a_file_gives_class_folders_their_labels_and_names_classes_without_images(folder):
    (folder / "cow").rename(folder / "brown cow")
    (folder / "classes.txt").write_text("\ufeffdog 0\nbrown  cow 3\n\nwild horse 1\r\ncat 2\n", encoding="utf-8")
    found = read_own_set(folder)
    assert found.class_names == ("dog", "wild horse", "cat", "brown cow")
    assert found.class_counts == (2, 0, 3, 1)
    assert found.labels.tolist() == [0, 2, 3, 0, 2, 2]


def test_what_programs_leave_in_folders_and_links_are_understood(folder):
    """Hidden files and folders, notes beside the class folders, links to folders and files, and any kind of colours."""
    for hidden in (".git", ".ipynb_checkpoints", "cat/.ipynb_checkpoints"):
        (folder / hidden).mkdir()
    for hidden in ("README.md", ".DS_Store", "dog/.DS_Store", "dog/._a.png", "._x.png"):
        (folder / hidden).write_text("text")
    picture(7).convert("L").save(folder / "dog" / "grey.png")
    picture(8).convert("RGBA").save(folder / "dog" / "opaque.png")
    (folder / "dog" / "z.png").symlink_to(folder / "cow" / "x.png")
    (folder.parent / "other").mkdir()
    picture(9).save(folder.parent / "other" / "photo.jpg")
    (folder / "emu").symlink_to(folder.parent / "other")
    found = read_own_set(folder)
    assert found.class_names == ("cat", "cow", "dog", "emu")
    assert found.class_counts == (3, 1, 5, 1)
    dogs = found.images[:][found.labels == 2]
    assert np.array_equal(dogs[2], np.repeat(np.asarray(picture(7).convert("L"))[None], 3, 0))
    assert np.array_equal(dogs[3], np.asarray(picture(8)).transpose(2, 0, 1))
    assert np.array_equal(dogs[4], np.asarray(picture(5)).transpose(2, 0, 1))


def png_of_16_bits() -> bytes:
    """Colours of 16 bits per channel, which Pillow reads but does not write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = zlib.compress((b"\0" + bytes(5 * 3 * 2)) * 4)
    header = struct.pack(">2I5B", 5, 4, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: picture(9, 6, 4).save(f / "dog/b.png"), r"dog/b\.png: has 6x4 pixels, but cat/1\.png has 5x4; "),
        (lambda f: (f / "cow/y.png").write_bytes(png_of_16_bits()), r"cow/y\.png: has 16 bits per channel; save"),
        (lambda f: (f / "cow/y.png").write_bytes(b"text"), r"cow/y\.png: is not a readable image"),
        (lambda f: (f / "cow/y.png").write_bytes(b""), r"cow/y\.png: is not a readable image"),
        (lambda f: (f / "cow/y.txt").touch(), r"cow/y\.txt: is not an image; allowed are \.png, .*; convert"),
        (lambda f: (f / "cow/y.png").symlink_to(f / "none"), r"cow/y\.png: is not an image"),
        (lambda f: (f / "cow/y.png").symlink_to("y.png"), r"cow/y\.png: is not an image"),
        (lambda f: os.mkfifo(f / "cow/y.png"), r"cow/y\.png: is not an image"),
        (lambda f: (f / "cow/loop").symlink_to(f), r"cow/loop: is a folder inside of a class folder; name the folder"),
        (lambda f: (f / "loop").symlink_to(f), r"loop/cat: is a folder inside of a class folder"),
        (lambda f: (f / "owl").symlink_to("owl"), "owl: is a link to nothing; correct or remove it"),
        (lambda f: picture(9).save(f / "top.png"), r"top\.png: is an image outside of the class folders; move it"),
        (lambda f: (f / "owl").mkdir(), "owl: is a class folder without images; add its images"),
        (lambda f: [shutil.rmtree(f / name) for name in ("cat", "cow", "dog")], "animals: holds no class folders"),
        (lambda f: [shutil.rmtree(f / name) for name in ("cat", "cow")], "animals: the number of classes is 1; "),
        (lambda f: (f / "cow").rename(f / "c\x1b[2Jow"), r"name 'c\\x1b\[2Jow' of class 0 holds"),
        (lambda f: (f / "classes.txt").touch(), r"classes\.txt: has no line of its own for the folder 'cat'; write"),
        (lambda f: (f / "classes.txt").write_text("cat\ncow\ndog"), r"gives no class the label 0; write one line"),
        (lambda f: (f / "classes.txt").write_text("cat 1\ncow 2\ndog 3"), r"gives no class the label 0; .* 0\.\.2$"),
        (lambda f: (f / "classes.txt").write_text("cat 1\ncow 1\ndog 0"), "gives no class the label 2"),
        (lambda f: (f / "classes.txt").write_text("cat 0\ncow 1"), "has no line of its own for the folder 'dog'"),
        (lambda f: (f / "classes.txt").write_bytes(b"\xff"), r"classes\.txt: cannot be read"),
    ],
)  # fmt: skip
def test_what_class_folders_must_not_hold_is_one_line_that_says_what_to_do(folder, change, message):
    change(folder)
    with pytest.raises(DatasetError, match=message) as caught:
        read_own_set(folder)
    assert str(caught.value).startswith(str(folder))
    assert "\n" not in str(caught.value)


def test_two_folders_do_not_share_a_line(folder):
    """Their names differ in blanks alone, which the file does not tell apart."""
    (folder / "cow").rename(folder / "big  cat")
    (folder / "dog").rename(folder / "big cat")
    (folder / "classes.txt").write_text("cat 0\nbig cat 1")
    with pytest.raises(DatasetError, match="has no line of its own for the folder 'big  cat'"):
        read_own_set(folder)


def test_an_image_that_is_damaged_or_changed_is_named_when_it_is_decoded(folder):
    (folder / "cow/x.png").write_bytes((folder / "cow/x.png").read_bytes()[:-40])
    found = read_own_set(folder)
    with pytest.raises(DatasetError, match=r"cow/x\.png: is not a readable image"):
        found.images[:]
    picture(5, 6, 4).save(folder / "cow/x.png")
    with pytest.raises(DatasetError, match=r"cow/x\.png: is no longer an image of 5x4 pixels"):
        found.images[:]
