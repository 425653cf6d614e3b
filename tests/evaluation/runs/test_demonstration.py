"""The demonstration's copy of the data takes a new record, whatever history the checkout has."""

import shutil

from apsite import validation
from apsite.evaluation.runs import demonstration


def test_a_new_record_fits_into_the_copy(repository, tmp_path):
    """A first version of the demonstration's model in the place of one that replaced another: no problem."""
    demonstration.copy_data(repository, tmp_path)
    folder = "evaluations/LAMP_Lee2021Layer"
    key = "LAMP_Lee2021Layer_R8_CIFAR10_US_90"
    assert (repository / folder / "history" / f"{key}.1.json").is_file()
    for kind in ("json", "npz"):
        shutil.copy(repository / folder / "history" / f"{key}.1.{kind}", tmp_path / folder / f"{key}.{kind}")
    record = tmp_path / folder / f"{key}.json"
    record.write_text(record.read_text(encoding="utf-8").replace(f"{key}.1.npz", f"{key}.npz"), encoding="utf-8")
    assert validation.validate(tmp_path).problems == ()
