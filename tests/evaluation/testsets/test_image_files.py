"""Test sets in files of the true format: SVHN's .mat and ImageNet's class folders, right and damaged."""

import hashlib
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from apsite.errors import DatasetError
from apsite.evaluation.testsets import imagenet as class_folders
from apsite.evaluation.testsets import svhn
from apsite.evaluation.testsets.datasets import TEST_SETS, ImageSet, load_test_set
from apsite.evaluation.testsets.image_files import ImageFiles
from apsite.evaluation.testsets.imagenet import SYNSETS
from apsite.evaluation.testsets.official import Download
from apsite.official_sets import official_labels
from apsite.protocol import Settings
from apsite.records.documents import record_from_json
from apsite.records.ranked_images import ranked_images
from apsite.samples import SampleResults
from apsite.validation.sample_files import _out_of_range
from apsite.vocabulary import Dataset, Protocol
from tests.builders import record_document


def matlab(count: int, *, labels=None, compressed: bool = True, **changes) -> bytes:
    """A file as the authors of SVHN write it: X of shape (32, 32, 3, n), y of shape (n, 1) with 10 for the digit 0."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
    classes = np.arange(count) % 10 + 1 if labels is None else np.array(labels)
    stream = io.BytesIO()
    content = {"X": images, "y": classes.astype(np.uint8)[:, None]} | changes
    scipy.io.savemat(
        stream, {key: value for key, value in content.items() if value is not None}, do_compression=compressed
    )
    return stream.getvalue()


@pytest.mark.parametrize("folder", ["", "svhn"])
def test_svhn_images_and_labels_are_those_of_the_file(tmp_path, folder):
    (tmp_path / folder).mkdir(exist_ok=True)
    content = matlab(12)
    (tmp_path / folder / "test_32x32.mat").write_bytes(content)
    path = TEST_SETS[Dataset.SVHN].find(tmp_path)
    images, labels = svhn.read(path)
    written = scipy.io.loadmat(io.BytesIO(content))["X"]
    assert images.shape == (12, 3, 32, 32)
    assert images.dtype == np.uint8
    assert all(np.array_equal(images[n, channel], written[:, :, channel, n]) for n in range(12) for channel in range(3))
    assert labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2]
    assert path == tmp_path / folder / "test_32x32.mat"


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not the official SVHN test file"),
        (b"<!DOCTYPE html>" * 20, "not a compressed MATLAB 5 file"),
        (matlab(3)[:1000], "not the official SVHN test file"),
        (flipped(matlab(3)), "not the official SVHN test file"),
        (matlab(3, compressed=False), "not a compressed MATLAB 5 file"),
        (matlab(3, y=None), "not the official SVHN test file"),
        (matlab(3, labels=[1, 2]), r"'X' is uint8 of shape \(32, 32, 3, 3\)"),
        (matlab(3, X=np.zeros((32, 32, 3, 3))), "'X' is float64"),
        (matlab(3, labels=[0, 1, 2]), r"labels outside 1\.\.10"),
        (matlab(3, labels=[1, 2, 11]), r"labels outside 1\.\.10"),
        (matlab(3), "holds 3 images; the test set of SVHN has 26032"),
    ],
)
def test_damaged_svhn_files_are_refused(tmp_path, content, message):
    (tmp_path / "test_32x32.mat").write_bytes(content)
    with pytest.raises(DatasetError, match=message) as caught:
        load_test_set(Dataset.SVHN, tmp_path)
    assert "test_32x32.mat" in str(caught.value)


def test_a_missing_svhn_set_says_what_to_do(tmp_path):
    with pytest.raises(DatasetError, match=r"apsite data fetch svhn.*'test_32x32\.mat'"):
        load_test_set(Dataset.SVHN, tmp_path)
    assert TEST_SETS[Dataset.SVHN].find(tmp_path) is None


def test_svhn_is_known_by_the_checksum_of_its_file(tmp_path, monkeypatch):
    """The whole set of 26,032 images is the official one when its file has the checksum that its authors publish."""
    stream = io.BytesIO()
    labels = np.full((26_032, 1), 10, np.uint8)
    scipy.io.savemat(stream, {"X": np.zeros((32, 32, 3, 26_032), np.uint8), "y": labels}, do_compression=True)
    content = stream.getvalue()
    (tmp_path / "test_32x32.mat").write_bytes(content)
    images = load_test_set(Dataset.SVHN, tmp_path)
    assert len(images) == 26_032
    assert not images.known
    assert set(images.labels) == {0}
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    file = Download("https://host/test_32x32.mat", "test_32x32.mat", f"md5:{digest}", len(content))
    monkeypatch.setitem(TEST_SETS, Dataset.SVHN, replace(svhn.FILES, download=file))
    assert load_test_set(Dataset.SVHN, tmp_path).known
    assert TEST_SETS[Dataset.SVHN].recognisable
    assert not TEST_SETS[Dataset.IMAGENET].recognisable


def picture(seed: int, width: int, height: int) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (max(height // 8, 1), max(width // 8, 1), 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    """1,000 class folders with a small image each; five classes have a second one. File names are shuffled."""
    folder = tmp_path_factory.mktemp("imagenet") / "val"
    numbers = np.random.default_rng(0).permutation(1005)
    stream = io.BytesIO()
    picture(0, 9, 8).save(stream, "JPEG")
    for position, number in enumerate(numbers):
        label = position % 1000
        path = folder / SYNSETS[label] / f"ILSVRC2012_val_{number + 1:08d}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(stream.getvalue())
    (folder / SYNSETS[0] / "README.txt").write_text("not an image")
    (folder / "synsets.txt").write_text("not a folder")
    return folder, numbers


@pytest.mark.parametrize("above", [True, False])
def test_imagenet_images_come_in_the_order_of_their_names(imagenet, above):
    """Not class by class: the label of each is the position of its folder among the sorted folders."""
    folder, numbers = imagenet
    assert class_folders.find(folder.parent if above else folder) == folder
    images, labels = class_folders.read(folder)
    expected = np.empty(1005, np.int64)
    expected[numbers] = np.arange(1005) % 1000
    assert np.array_equal(labels, expected)
    assert images.shape == (1005, 3, 224, 224)


def test_imagenet_images_are_decoded_when_they_are_sliced(imagenet, monkeypatch):
    """Taking a part decodes nothing, a slice only its own images, and both agree."""
    images, _ = class_folders.read(imagenet[0])
    decoded = []
    whole = type(images)._decode
    monkeypatch.setattr(type(images), "_decode", lambda self, path: decoded.append(path) or whole(self, path))
    some = images.take(np.array([3, 1000]))
    assert len(some) == 2
    assert decoded == []
    assert some[:].shape == (2, 3, 224, 224)
    assert len(decoded) == 2
    assert np.array_equal(some[1:], images[np.array([1000])])
    assert images[:0].shape == (0, 3, 224, 224)
    assert len(decoded) == 4


def test_imagenet_ranks_on_the_images_of_robustbench_s_list():
    """Sorted, the names of the published list have this hash; the first 5,000 images are others."""
    ranked = ranked_images(Dataset.IMAGENET)
    names = "\n".join(f"ILSVRC2012_val_{position + 1:08d}.JPEG" for position in ranked)
    digest = "1f7d0bdb93c332b850911832011aaa2ce1512c406b44d81e7d4a6877c78502a0"
    assert hashlib.sha256(names.encode()).hexdigest() == digest
    assert len(ranked) == Dataset.IMAGENET.ranked_samples
    files = ImageFiles([Path(str(number)) for number in range(50_000)])
    whole = ImageSet(Dataset.IMAGENET, files, np.zeros(50_000, np.int64), np.arange(50_000, dtype=np.int32), "", False)
    assert np.array_equal(whole.first(None).index, ranked)
    assert len(whole.first(50_000)) == 50_000
    protocols = [Settings(n_examples=count).protocol(Dataset.IMAGENET, count or 5000) for count in (None, 5000, 50_000)]
    assert protocols == [Protocol.APB_1, Protocol.CUSTOM, Protocol.CUSTOM]


def test_a_ranking_record_of_imagenet_has_the_images_of_the_list():
    document = record_document("Tiny_Doe2024Small_R50_ImageNet_US_90")
    record = replace(record_from_json(document), protocol=Protocol.APB_1)
    flags, official = np.ones(5000, np.bool_), official_labels(Dataset.IMAGENET)
    for index, fields in ((ranked_images(Dataset.IMAGENET), []), (np.arange(5000, dtype=np.int32), ["index"])):
        samples = SampleResults(index=index, label=official[index], clean_correct=flags)
        assert [field for field, _ in _out_of_range(record, samples)] == fields


def triangle_resized(pixels: np.ndarray, size: int) -> np.ndarray:
    """The first axis resized with the antialiased triangle filter that bilinear resizing is."""
    scale = len(pixels) / size
    centres = (np.arange(size) + 0.5) * scale
    weights = np.maximum(0, 1 - np.abs(np.arange(len(pixels)) + 0.5 - centres[:, None]) / max(scale, 1))
    return np.tensordot(weights / weights.sum(1, keepdims=True), pixels, 1)


@pytest.mark.parametrize(
    ("width", "height", "resized"),
    [
        (300, 400, (256, 341)),
        (500, 375, (341, 256)),
        (256, 256, (256, 256)),
        (100, 83, (308, 256)),
        (9, 60, (256, 1706)),
    ],
)
def test_an_image_is_resized_and_cropped_as_published(imagenet, tmp_path, width, height, resized):
    """The shorter side becomes 256, the longer is rounded down, and the centre is cut out, as torchvision does."""
    path = tmp_path / "image.png"
    original = picture(1, width, height)
    original.save(path)
    found = ImageFiles([path])[:][0]
    columns, rows = resized
    expected = triangle_resized(np.asarray(original, np.float64), rows)
    expected = triangle_resized(expected.transpose(1, 0, 2), columns).transpose(1, 0, 2)
    top, left = round((rows - 224) / 2), round((columns - 224) / 2)
    expected = expected[top : top + 224, left : left + 224].transpose(2, 0, 1)
    assert found.shape == (3, 224, 224)
    assert np.abs(found - np.clip(expected, 0, 255)).max() <= 1.5


def test_grey_images_have_three_channels_and_damaged_ones_are_named(tmp_path):
    """ImageNet holds both grey pictures and, after a bad copy, broken ones."""
    picture(2, 64, 64).convert("L").save(tmp_path / "grey.JPEG")
    grey = ImageFiles([tmp_path / "grey.JPEG"])[:][0]
    assert np.array_equal(grey[0], grey[2])
    (tmp_path / "cut.JPEG").write_bytes((tmp_path / "grey.JPEG").read_bytes()[:400])
    (tmp_path / "text.JPEG").write_bytes(b"no image")
    # Pillow would start Ghostscript, which runs the program in such a file.
    (tmp_path / "eps.JPEG").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\n%%EOF\n")
    with pytest.raises(DatasetError, match="cannot identify image file"):
        ImageFiles([tmp_path / "eps.JPEG"])[:]
    for name in ("cut.JPEG", "text.JPEG", "gone.JPEG"):
        with pytest.raises(DatasetError, match=rf"{name}: is not a readable image"):
            ImageFiles([tmp_path / name])[:]


def test_class_folders_are_named_after_synsets_or_mapped_to_them(tmp_path):
    """Numbers sort in another order than the labels, so they are never taken for them."""
    for number in range(1000):
        (tmp_path / "val" / f"class {number}").mkdir(parents=True)
        (tmp_path / "val" / f"class {number}" / f"{number:04d}.png").touch()
    with pytest.raises(DatasetError, match=r"class folder 'class 0' is not named after a synset .* add a file classes"):
        class_folders.read(tmp_path / "val")
    lines = [f"class {number} {synset}" for number, synset in enumerate(SYNSETS)]
    (tmp_path / "val" / "classes.txt").write_text("\n".join(lines))
    _, labels = class_folders.read(tmp_path / "val")
    assert np.array_equal(labels, np.arange(1000))
    (tmp_path / "val" / "classes.txt").write_text("\n".join([*lines[:-1], f"class 999 {SYNSETS[0]}"]))
    with pytest.raises(DatasetError, match=r"classes\.txt: gives two folders the same synset"):
        class_folders.read(tmp_path / "val")
    (tmp_path / "val" / "classes.txt").write_bytes(b"\xff")
    with pytest.raises(DatasetError, match=r"classes\.txt: cannot be read"):
        class_folders.read(tmp_path / "val")


def test_another_number_of_class_folders_is_refused(imagenet, tmp_path):
    (tmp_path / "val" / "n01440764").mkdir(parents=True)
    with pytest.raises(DatasetError, match=r"val: holds 1 class folders; .* has 1,000"):
        load_test_set(Dataset.IMAGENET, tmp_path)
    with pytest.raises(DatasetError, match=r"has no ImageNet test set; put .*https://image-net\.org in 1,000 class"):
        load_test_set(Dataset.IMAGENET, tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="holds 1005 images; the test set of ImageNet has 50000"):
        load_test_set(Dataset.IMAGENET, imagenet[0])
