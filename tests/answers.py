"""Answers to the questions that describe a method: one full set, and strategies for many."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from apsite.contribution.questions import NOTHING, Kind, Question, questions
from apsite.vocabulary import Stage

FULL: dict[str, Any] = {
    "name": "Tiny-Net", "paper.title": "Small networks, “robust” and sparse",
    "paper.authors": ["José Núñez", "Ann O'Neil"], "paper.venue": "ICLR", "paper.year": "2026",
    "paper.url": "https://example.org/paper?id=1&page=2#top",
    "paper.bibtex": "@inproceedings{nunez,\n  title = {Small \\& sparse},\n  year = 2026\n}",
    "code.url": "https://example.org/code", "key": "Tiny-Net_Nunez2026Small", "pipeline.stage": "after",
    "pipeline.pretraining": ["TRADES", "other: Friendly training", "AT-PGD"],
    "pipeline.finetuning": [NOTHING], "pipeline.schedule": ["iterative"],
    "specifics.structure": ["unstructured", "structured"], "specifics.granularity": ["weight", "filter"],
    "specifics.locality": [], "specifics.criterion": "LIS", "auxiliary_loss": "Feature distortion, squared",
    "host_methods": ["HYDRA", "HARP"], "other_compression": ["quantization"],
    "sources": "arXiv 2601.00001v1, “Method”", "audit.autoattack": "yes", "audit.pgd": "no",
    "audit.pgd_over_10_iterations": "", "audit.robustness_curve": "", "audit.others": ["CW", "DeepFool"],
    "reported": [
        {
            "dataset": "cifar10", "architecture": "resnet18", "structure": "unstructured", "sparsity": "0.9375",
            "attack": "PGD-20", "robust_accuracy": "1.0",
            "clean_accuracy": "0.8", "by": "", "source": "Table 2",
        },
    ],
    "checkpoints": [
        {
            "model_key": "Tiny-Net_Nunez2026Small_R18_CIFAR10_US_90", "url": "hf://jane/tiny/model.pt", "sha256": "",
            "file_format": ".pt", "notes": "",
        },
    ],
    "notes": ["Ünïcode – and\ttabs", "</script><b>markup</b>"],
}  # fmt: skip

_CHECKPOINT = FULL["checkpoints"][0]
CONTRADICTIONS = [
    ({"specifics.granularity": ["filter"]}, "specifics.granularity", "Unstructured pruning needs its unit"),
    ({"specifics.granularity": ["weight"]}, "specifics.granularity", "Structured pruning needs its unit"),
    ({"specifics.structure": ["structured"]}, "specifics.granularity", "weight is a unit of unstructured"),
    ({"specifics.structure": ["unstructured"]}, "specifics.granularity", "filter is a unit of structured pruning"),
    (
        {"checkpoints": [{**_CHECKPOINT, "model_key": ""}]}, "checkpoints",
        "Row 1, Remark: say which network, dataset and sparsity it is",
    ),
    ({"audit.pgd_over_10_iterations": "yes"}, "audit.pgd_over_10_iterations", "PGD was not run"),
    ({"audit.pgd_over_10_iterations": "no"}, "audit.pgd_over_10_iterations", "PGD was not run"),
    ({"paper.year": "2024"}, "key", "The key says 2026, but the paper is of 2024"),
    ({"paper.bibtex": "Small networks, 2026"}, "paper.bibtex", "is not one BibTeX entry"),
    ({"paper.bibtex": "@misc{a, title = {b}"}, "paper.bibtex", "check its braces"),
    ({"paper.bibtex": "@misc{a, title = {b}}\n@misc{c, title = {d}}"}, "paper.bibtex", "keep that of the paper"),
    (
        {"checkpoints": [_CHECKPOINT, {**_CHECKPOINT, "notes": "Better."}]},
        "checkpoints", "Row 1, Model key: Tiny-Net_Nunez2026Small_R18_CIFAR10_US_90 is listed more than once",
    ),
    (
        {"checkpoints": [_CHECKPOINT, {**_CHECKPOINT, "model_key": f"{FULL['key']}_V16_SVHN_S_50"}]},
        "checkpoints",
        "Row 2, URL: “hf://jane/tiny/model.pt” is also that of Tiny-Net_Nunez2026Small_R18_CIFAR10_US_90",
    ),
]  # fmt: skip
"""Answers that, within the full set, contradict another one: what is said, the question named, part of the message."""

_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=45) | st.sampled_from(
    ["plain", " padded ", "a\tb", "<b>&amp;", "e\u0301", "\u202eright", "x" * 41, "https://a.b/c", "Key_Doe2020A"]
)
_NUMBERS = st.sampled_from(["", "0", "1", "1.0", ".5", "0.95", "0.12345", "1.5", "-1", "2020", "1979", "99999", "1e3"])


def _answer(question: Question) -> st.SearchStrategy[Any]:
    match question.kind:
        case Kind.ROWS:
            row = st.fixed_dictionaries({field.name: _answer(field) for field in question.rows})
            return st.lists(row, max_size=2)
        case Kind.LINES:
            return st.lists(_TEXT.map(lambda text: text.replace("\n", " ").replace("\r", " ")), max_size=3)
        case Kind.CHOICES:
            words = [choice.value for choice in question.choices] + [NOTHING] * question.allows_nothing
            words += ["other: Öther words"] * (question.other is not None)
            return st.lists(st.sampled_from(words), unique=True, max_size=3)
        case Kind.CHOICE | Kind.YES_NO:
            other = ["other: x"] * (question.other is not None and question.section != "")  # no words within a row
            return st.sampled_from(["", *(choice.value for choice in question.choices), *other])
        case Kind.WHOLE | Kind.FRACTION:
            return _NUMBERS
        case Kind.LONG:
            return _TEXT
    return _TEXT.map(lambda text: text.replace("\n", " ").replace("\r", " "))


def any_answers() -> st.SearchStrategy[dict[str, Any]]:
    """Answers of any kind, most of them wrong somewhere."""
    return st.fixed_dictionaries({question.name: _answer(question) for question in questions()})


def good_answers() -> st.SearchStrategy[dict[str, Any]]:
    """Complete answers with nothing wrong."""
    words = {
        question.name: _answer(question)
        for question in questions()
        if question.kind in (Kind.CHOICES, Kind.CHOICE, Kind.YES_NO)
    }
    made = st.fixed_dictionaries(words).map(_mended)
    return st.builds(
        lambda chosen, stage: {**FULL, **chosen, "pipeline.stage": stage.value}, made, st.sampled_from(Stage)
    )


def _mended(chosen: dict[str, Any]) -> dict[str, Any]:
    """The same without the combinations that are no answer."""
    chosen = {name: [NOTHING] if NOTHING in words else words for name, words in chosen.items()}
    chosen["specifics.structure"] = chosen["specifics.structure"] or ["structured"]
    structures = chosen["specifics.structure"]
    units = {"weight": "unstructured", "kernel": "structured", "n:m-group": "semi-structured"}
    other = [word for word in chosen["specifics.granularity"] if word.startswith("other:")]
    chosen["specifics.granularity"] = chosen["specifics.granularity"] and [
        *(word for word, structure in units.items() if structure in structures), *other,
    ]  # fmt: skip
    if chosen["audit.pgd"] == "no":
        chosen["audit.pgd_over_10_iterations"] = ""
    chosen["specifics.criterion"] = chosen["specifics.criterion"] or "LWM"
    return chosen
