"""Reading test sets: both official CIFAR-10 layouts, the embedded images, and files that are wrong."""

import pickle

import numpy as np
import pytest

from apsite.errors import DatasetError
from apsite.evaluation.testsets import datasets
from apsite.evaluation.testsets.datasets import embedded_images, load_test_set
from apsite.official_sets import official_labels
from apsite.protocol import Sample
from apsite.vocabulary import Dataset


@pytest.fixture
def whole_set():
    generator = np.random.default_rng(0)
    rows = generator.integers(0, 256, (10_000, 3072), dtype=np.uint8)
    return rows, generator.integers(0, 10, 10_000).astype(np.uint8)


def pickled_by_python_2(rows, labels):
    """The official file, instruction by instruction: text and the bytes of arrays are the same there."""
    return b"".join(
        (
            b"\x80\x02}q\x01(U\x0bbatch_labelq\x02U\x15testing batch 1 of 1\nq\x03U\x06labelsq\x04]q\x05(",
            *(b"K" + bytes([label]) for label in labels.tolist()),
            b"eU\x04dataq\x06cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85q\tU\x01bq\n\x87q\x0b",
            b"Rq\x0c(K\x01M" + len(rows).to_bytes(2, "little") + b"M\x00\x0c\x86q\rcnumpy\ndtype\nq\x0eU\x02u1q\x0f",
            b"K\x00K\x01\x87q\x10Rq\x11(K\x03U\x01|q\x12NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x13b\x89",
            b"T" + rows.nbytes.to_bytes(4, "little") + rows.tobytes() + b"q\x14tq\x15bu.",
        )
    )


def test_binary_and_python_layouts_give_the_same_arrays(whole_set, tmp_path):
    """The same images in either official layout are the same set with the same hash, not the official one."""
    rows, labels = whole_set
    (tmp_path / "a" / "cifar-10-batches-bin").mkdir(parents=True)
    np.concatenate([labels[:, None], rows], 1).tofile(tmp_path / "a" / "cifar-10-batches-bin" / "test_batch.bin")
    (tmp_path / "b" / "cifar-10-batches-py").mkdir(parents=True)
    batch = {b"data": rows, b"labels": labels.tolist(), b"batch_label": b"testing batch 1 of 1"}
    binary = load_test_set(Dataset.CIFAR10, tmp_path / "a")
    for content in (pickle.dumps(batch, protocol=2), pickle.dumps(batch), pickled_by_python_2(rows, labels)):
        (tmp_path / "b" / "cifar-10-batches-py" / "test_batch").write_bytes(content)
        python = load_test_set(Dataset.CIFAR10, tmp_path / "b")
        assert np.array_equal(binary.images, python.images)
        assert binary.sha256 == python.sha256
    assert binary.images.shape == (10_000, 3, 32, 32)
    assert np.array_equal(binary.images[7].reshape(-1), rows[7])
    assert not binary.known
    assert load_test_set(Dataset.CIFAR10, tmp_path / "a" / "cifar-10-batches-bin").sha256 == binary.sha256


def test_a_dataset_pickle_cannot_run_code(tmp_path):
    sentinel = tmp_path / "ran"

    class Hostile:
        def __reduce__(self):
            return (open, (str(sentinel), "w"))

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "test_batch").write_bytes(pickle.dumps({b"data": Hostile(), b"labels": []}))
    with pytest.raises(DatasetError, match="'data' holds no rows of 3072 bytes"):
        load_test_set(Dataset.CIFAR10, tmp_path)
    assert not sentinel.exists()


def test_a_missing_set_says_what_to_put_where(tmp_path):
    with pytest.raises(DatasetError, match=r"apsite data fetch cifar10.*test_batch\.bin.*--data-dir embedded"):
        load_test_set(Dataset.CIFAR10, tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "multiple of 3073"),
        (b"x" * 3000, "multiple of 3073"),
        (bytes(3073), "holds 1 images; the test set of CIFAR-10 has 10000"),
        (b"\x0b" + bytes(3072), r"labels outside 0\.\.9"),
    ],
)
def test_files_of_the_wrong_format_are_refused(tmp_path, content, message):
    (tmp_path / "test_batch.bin").write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        load_test_set(Dataset.CIFAR10, tmp_path)


def test_a_python_batch_of_the_wrong_content_is_refused(tmp_path):
    (tmp_path / "test_batch").write_bytes(pickle.dumps([1, 2, 3]))
    with pytest.raises(DatasetError, match="is not the official CIFAR-10 test batch"):
        load_test_set(Dataset.CIFAR10, tmp_path)


def test_the_embedded_images_are_the_first_256_of_the_test_set():
    images = embedded_images()
    assert images.images.shape == (256, 3, 32, 32)
    assert images.labels[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
    assert images.sha256 == "02c93770de95aa047eefbdb49b752df189e5dac6bca98adb287cd3297d1e6423"
    assert images.known


def test_only_cifar10_is_embedded():
    with pytest.raises(DatasetError, match="no images of SVHN are embedded"):
        load_test_set(Dataset.SVHN, datasets.EMBEDDED)


def test_the_first_images_keep_their_positions():
    images = embedded_images().first(5)
    assert images.index.tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(DatasetError, match="has 5; choose 1 to 5"):
        images.first(6)


def test_a_sample_is_the_same_for_all_and_part_of_a_larger_one():
    """A fixed random order decides; RobustBench's first images and a part of the set are the first ones."""
    count = Dataset.CIFAR10.test_samples
    pixels = np.broadcast_to(np.zeros((1, 3, 32, 32), np.uint8), (count, 3, 32, 32))
    index = np.arange(count, dtype=np.int32)
    whole = datasets.ImageSet(Dataset.CIFAR10, pixels, official_labels(Dataset.CIFAR10), index, "all", known=True)
    thousand, hundred = (whole.chosen(n, Sample.RANDOM)[0] for n in (1000, 100))
    assert set(hundred.index) < set(thousand.index)
    assert np.array_equal(thousand.index, np.sort(np.random.default_rng(0).permutation(count)[:1000]))
    assert np.array_equal(thousand.labels, whole.labels[thousand.index])
    assert np.array_equal(whole.chosen(count, Sample.RANDOM)[0].index, index)
    assert whole.chosen(1000, Sample.FIRST)[0].index[-1] == 999
    part, sample = embedded_images().chosen(5, Sample.RANDOM)
    assert (part.index.tolist(), sample) == ([0, 1, 2, 3, 4], Sample.FIRST)
