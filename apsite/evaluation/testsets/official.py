"""What is known of the official files of a dataset: how to find, read, check and fetch them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from apsite.evaluation.testsets.image_files import Images, Labels, Pixels
from apsite.vocabulary import Dataset


@dataclass(frozen=True)
class Download:
    """One official file that may be fetched, to `name` below the data folder.

    Attributes:
        known_hash: ``md5:...`` or ``sha256:...`` as its authors publish it.
        member: Folder that appears when the archive is unpacked; ``None`` if it is no archive.
    """

    url: str
    name: str
    known_hash: str
    size: int
    member: str | None = None


@dataclass(frozen=True)
class OfficialFiles:
    """The official files of a dataset. Reading them never executes anything from them.

    Attributes:
        terms: Terms of use and source, in one line.
        expected: What to put into the data folder, for the message when it is not there.
        find: Test set below a data folder, a file or a folder; ``None`` if there is none.
        read: Images, uint8 of shape ``(n, channels, height, width)``, and labels from 0, in official order, from what
            `find` gives. Raises `DatasetError` if it is damaged.
        known_sha256: SHA-256 of images and labels of the whole test set, see :func:`datasets.array_hash`; ``None`` for
            a set that is known by the checksum of its file, or not at all.
        file_hashes: Hashes of what `find` gives, one per layout, ``algorithm:hexadecimal``; a download that is no
            archive needs none.
        download: The file to fetch; ``None`` if its terms forbid that.
        read_training: Images and labels of the training set below a data folder; ``None`` if none is offered.
        embedded: Test images inside the package and their labels; ``None`` if there are none.
    """

    dataset: Dataset
    terms: str
    expected: str
    find: Callable[[Path], Path | None]
    read: Callable[[Path], tuple[Images, Labels]]
    known_sha256: str | None = None
    file_hashes: tuple[str, ...] = ()
    download: Download | None = None
    read_training: Callable[[Path], tuple[Pixels, Labels]] | None = None
    embedded: Callable[[], tuple[Pixels, Labels]] | None = None

    @property
    def recognisable(self) -> bool:
        """Whether a set can be recognised as the official one."""
        return self.known_sha256 is not None or bool(self.hashes_of_file)

    @property
    def hashes_of_file(self) -> tuple[str, ...]:
        """Hashes by which the file of the test set is known, any of them."""
        if self.download is not None and self.download.member is None:
            return (self.download.known_hash, *self.file_hashes)
        return self.file_hashes


def first_file(*candidates: Path) -> Path | None:
    """The first of several paths that is a file; ``None`` if none is."""
    return next((path for path in candidates if path.is_file()), None)
