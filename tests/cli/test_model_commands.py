"""`apsite models` as a user runs it; checkpoints come from a server on this machine."""

import hashlib
import json

import pytest
import torch

from apsite.catalogue import load_catalogue
from apsite.errors import ApsiteError
from apsite.evaluation.checkpoints.loading import load_network
from apsite.evaluation.checkpoints.networks.registry import layouts
from apsite.evaluation.checkpoints.published import pins_path, published_checkpoints
from apsite.evaluation.runs.demonstration import network_path
from apsite.evaluation.testsets import downloads
from apsite.vocabulary import Dataset
from tests.builders import METHOD, entry_document, record_document
from tests.loopback import loopback_server

KEY = f"{METHOD}_R18_CIFAR10_US_90"
WEIGHTS = network_path().read_bytes()
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


def test_every_layout_is_listed_with_its_costs(run):
    result = run("models", "list")
    rows = {cells[0].strip(): cells for cells in (line.strip("│ ").split("│") for line in result.stdout.splitlines())}
    assert set(layouts()) <= set(rows)
    assert [cell.strip() for cell in rows["base_resnet18"][1:]] == [
        "resnet18", "HARP, HYDRA", "11,173,962", "555.4 M",
    ]  # fmt: skip
    assert rows["resnet50"][-1].strip() == "4,089.2 M"


def test_the_list_can_be_of_one_network(run):
    result = run("models", "list", "--arch", "resnet8")
    assert "resnet8" in result.stdout
    assert "vgg16" not in result.stdout
    run("models", "list", "--arch", "alexnet", code=2)


def test_info_shows_a_layout_in_full(run):
    mad = run("models", "info", "mad_resnet18").stdout
    for text in ("22,338,324", "555,422,720", "0.2023", "0.43090966", "softplus", "144 tensors", "conv1.mask_weight"):
        assert text in mad
    assert "Note:          Every weight is multiplied by the softplus" in mad
    assert "64 × 3 × 3 × 3" in mad
    assert "only by name, --layout resnet50_normalised" in run("models", "info", "resnet50_normalised").stdout
    assert "the declared sparsity makes the mask" in run("models", "info", "rst_vgg16").stdout


def test_info_of_an_unknown_layout_names_the_known_ones(run):
    result = run("models", "info", "resnet18", code=1)
    assert "layout 'resnet18' is not registered" in result.stderr
    assert "base_resnet18" in result.stderr


@pytest.fixture
def hub(tmp_path, monkeypatch, data_folder):
    """Function that writes entries whose checkpoints are on a server in place of Google Drive, and gives its files."""
    monkeypatch.setenv("APSITE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    def arrange(*checkpoints, **changes):
        entry = entry_document(
            aliases=["Tiny_Doe2024Old"],
            checkpoints=[{"model_key": KEY, "sha256": None, **checkpoint} for checkpoint in checkpoints],
            **changes,
        )
        return data_folder(entry, record_document(KEY)), server.drive

    with loopback_server() as server:
        monkeypatch.setattr(downloads, "GOOGLE_DRIVE", f"{server.address}/uc")
        yield arrange


def test_a_checkpoint_is_fetched_pinned_and_ready_to_evaluate(run, hub, tmp_path):
    root, files = hub({"url": "gdrive://one", "file_format": ".pth.tar"})
    files["one"] = WEIGHTS
    result = run("models", "fetch", KEY, "--root", root)
    lines = dict(line.split(None, 1) for line in result.stdout.splitlines())
    assert lines["SHA-256:"] == SHA256
    path = lines["File:"]
    assert path.startswith(str(tmp_path / "cache" / "checkpoints" / KEY))
    assert path.endswith(".pth.tar")
    assert lines["Evaluate:"] == (
        f"apsite eval {path} --method {METHOD} --dataset cifar10 --arch resnet18 --structure unstructured "
        "--sparsity 0.90 --checkpoint-url gdrive://one"
    )
    assert json.loads(pins_path().read_text()) == {"gdrive://one": SHA256}
    files.clear()
    again = run("models", "fetch", f"Tiny_Doe2024Old_{KEY.split('_', 2)[2]}", "--root", root, "--quiet")
    assert again.stdout == result.stdout
    assert again.stderr == ""


def test_a_network_is_loaded_by_its_model_key(hub, tmp_path):
    """Fetched once, with what the key says of it; a file needs its network named."""
    root, files = hub({"url": "gdrive://one"}, {"url": "gdrive://two"})
    torch.manual_seed(0)
    network = layouts()["base_resnet18"].build(Dataset.CIFAR10).eval()
    torch.save(network.state_dict(), tmp_path / "model.pt")
    files["two"] = (tmp_path / "model.pt").read_bytes()
    with pytest.raises(ApsiteError, match="2 checkpoints are published; say which"):
        load_network(KEY, root=root)
    loaded = load_network(KEY, root=root, choose=2)
    files.clear()
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded(images), network(images))
        assert torch.equal(load_network(KEY, root=root, choose=2)(images), network(images))
    with pytest.raises(ApsiteError, match=r"model\.pt: say which network it holds"):
        load_network(tmp_path / "model.pt")


def test_another_file_from_the_same_address_is_refused(run, hub, tmp_path):
    """What came at first use counts; the other file is removed, and a damaged copy is fetched again."""
    root, files = hub({"url": "gdrive://one"})
    files["one"] = WEIGHTS
    path = tmp_path / "model.pt"
    run("models", "fetch", KEY, "--root", root, "--output", path)
    path.unlink()
    files["one"] = b"other weights"
    result = run("models", "fetch", KEY, "--root", root, "--output", path, code=1)
    assert "as it had when it was first fetched" in result.stderr
    assert "the file was changed; it was removed" in result.stderr
    assert not path.exists()
    files["one"] = WEIGHTS
    cached = run("models", "fetch", KEY, "--root", root).stdout.split()[1]
    with open(cached, "wb") as stream:  # noqa: PTH123
        stream.write(b"damaged")
    run("models", "fetch", KEY, "--root", root)
    with open(cached, "rb") as stream:  # noqa: PTH123
        assert stream.read() == WEIGHTS


def test_a_declared_hash_is_kept(run, hub):
    root, files = hub({"url": "gdrive://one", "sha256": SHA256})
    files["one"] = b"other weights"
    assert "as its entry declares" in run("models", "fetch", KEY, "--root", root, code=1).stderr


def test_a_file_that_is_already_there_is_not_taken_for_the_checkpoint(run, hub, tmp_path):
    root, files = hub({"url": "gdrive://one"})
    files["one"] = WEIGHTS
    (tmp_path / "own.pt").write_bytes(b"my own")
    result = run("models", "fetch", KEY, "--root", root, "--output", tmp_path / "own.pt", code=1)
    assert "is already there and not known to be this checkpoint" in result.stderr
    assert (tmp_path / "own.pt").read_bytes() == b"my own"
    assert not pins_path().exists()


def test_several_checkpoints_of_one_key_need_a_choice(run, hub):
    root, files = hub({"url": "gdrive://one", "notes": "Probably this."}, {"url": "gdrive://two"})
    files |= {"one": b"first", "two": b"second"}
    result = run("models", "fetch", KEY, "--root", root, code=1)
    assert "2 checkpoints are published; say which" in result.stderr
    assert "--choose 1: gdrive://one (Probably this.)" in result.stderr
    assert "--choose 2: gdrive://two" in result.stderr
    digests = set()
    for number in (1, 2):
        chosen = run("models", "fetch", KEY, "--root", root, "--choose", number)
        digests.add(chosen.stdout.split()[3])
    assert len(digests) == 2
    assert "choose 1 to 2" in run("models", "fetch", KEY, "--root", root, "--choose", 3, code=1).stderr


def test_a_web_page_is_refused(run, hub, tmp_path):
    root, files = hub({"url": "gdrive://one"})
    files["one"] = b"<!DOCTYPE html><html>Quota exceeded</html>"
    assert "sent a web page in place of the file" in run("models", "fetch", KEY, "--root", root, code=1).stderr
    assert list((tmp_path / "cache" / "checkpoints").iterdir()) == []
    assert not pins_path().exists()


def test_a_file_format_cannot_lead_out_of_the_cache_folder(run, hub, tmp_path):
    """Entries are contributed; their words never become folders."""
    root, files = hub({"url": "gdrive://one", "file_format": "/../../x"})
    files["one"] = WEIGHTS
    assert run("models", "fetch", KEY, "--root", root).stdout.split()[1].endswith(".checkpoint")
    assert [path.parent for path in (tmp_path / "cache").rglob("*.checkpoint")] == [tmp_path / "cache" / "checkpoints"]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (f"{METHOD}_R18_CIFAR10_US_99", "no checkpoint is published; its entry names checkpoints of"),
        ("Unknown_Doe2024Method_R18_CIFAR10_US_90", "has no entry"),
        ("nonsense", "model key 'nonsense' is not of the form"),
        (f"{METHOD}_R19_CIFAR10_US_90", "'R19' is not one of R18"),
    ],
)
def test_a_key_without_checkpoint_says_what_there_is(run, hub, key, message):
    root, _ = hub({"url": "gdrive://one"})
    assert message in run("models", "fetch", key, "--root", root, code=1).stderr


def test_a_record_can_name_the_checkpoint(data_folder):
    record = record_document(KEY) | {"checkpoint": {"url": "https://host.org/model.pt", "sha256": SHA256}}
    key, found = published_checkpoints(load_catalogue(data_folder(entry_document(checkpoints=[]), record)), KEY)
    assert str(key) == KEY
    assert [(one.url, one.sha256) for one in found] == [("https://host.org/model.pt", SHA256)]


def test_the_surveys_doubled_key_is_ambiguous_and_its_missing_one_is_missing(benchmark_data):
    """HYDRA ResNet18 90 % is listed twice in the survey's repository and HYDRA VGG16 99 % not at all."""
    _, found = published_checkpoints(benchmark_data, "HYDRA_Sehwag2020Hydra_R18_CIFAR10_US_90")
    assert len(found) == 2
    with pytest.raises(ApsiteError, match="no checkpoint is published"):
        published_checkpoints(benchmark_data, "HYDRA_Sehwag2020Hydra_V16_CIFAR10_US_99")


def test_an_https_checkpoint_goes_through_the_same_path(run, hub, monkeypatch):
    """Schemas ask for https in entries; the transfer itself is tried on a server of this machine."""
    from apsite.evaluation.testsets import downloads

    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    root, _ = hub({"url": "https://host.org/model.safetensors", "file_format": ".safetensors"})
    real = downloads._http
    with loopback_server() as server:
        local = server.serve("model.safetensors", WEIGHTS)
        monkeypatch.setattr(downloads, "_http", lambda url, *rest: real(local, *rest))
        result = run("models", "fetch", KEY, "--root", root)
    assert "1.7 MB" in result.stderr
    assert result.stdout.split()[1].endswith(".safetensors")
