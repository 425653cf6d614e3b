"""Text and order of the questions."""

from __future__ import annotations

from typing import Any

ASKED: dict[str, tuple[tuple[str, str, str, str], ...]] = {
    "The method and its paper": (
        ("name", "Name of the method", "name", "HARP"),
        ("paper.title", "Title of the paper", "title", "Holistic Adversarially Robust Pruning"),
        ("paper.authors", "Authors", "author", "Qi Zhao"),
        ("paper.venue", "Venue", "venue", "ICLR"),
        ("paper.year", "Year", "year", "2023"),
        ("paper.url", "URL of the paper", "paper-url", "https://openreview.net/forum?id=sAJDi9lD06L"),
        ("paper.bibtex", "BibTeX", "bibtex", "@inproceedings{Zhao2023Holistic, …}"),
        ("code.url", "URL of the code", "code-url", "https://github.com/intellisec/harp"),
        ("key", "Key of the method", "key", "HARP_Zhao2023Holistic"),
    ),
    "When it prunes": (
        ("pipeline.stage", "Pruning takes place", "stage", ""),
        ("pipeline.pretraining", "Pretraining", "pretraining", ""),
        ("pipeline.finetuning", "Finetuning", "finetuning", ""),
        ("pipeline.pruning", "Pruning step", "pruning", ""),
        ("pipeline.training", "Training step", "training", ""),
        ("pipeline.schedule", "Schedule", "schedule", ""),
    ),
    "How it prunes": (
        ("specifics.structure", "Structure", "structure", ""),
        ("specifics.granularity", "Unit removed", "granularity", ""),
        ("specifics.locality", "Locality", "locality", ""),
        ("specifics.criterion", "Criterion", "criterion", ""),
    ),
    "What few methods have": (
        ("auxiliary_loss", "Auxiliary loss", "auxiliary-loss", "Hilbert-Schmidt independence criterion"),
        ("host_methods", "Host methods", "host-method", "HYDRA"),
        ("source_data", "Other data for pretraining or pruning", "source-data", "ImageNet"),
        ("other_compression", "Other compression", "compression", ""),
    ),
    "How its paper evaluated it": (
        ("audit.autoattack", "AutoAttack", "audit-autoattack", ""),
        ("audit.pgd", "PGD", "audit-pgd", ""),
        ("audit.pgd_over_10_iterations", "PGD with more than 10 iterations", "audit-pgd-over-10-iterations", ""),
        ("audit.robustness_curve", "Robustness at several ε", "audit-robustness-curve", ""),
        ("audit.others", "Other attacks", "audit-other", "CW"),
    ),
    "Results and files": (
        ("reported", "Results that the paper reports", "reported", ""),
        ("checkpoints", "Published checkpoints", "checkpoint", ""),
        ("sources", "Where this was read", "source", "arXiv 2510.18381v1, sections 3 and 4"),
        ("notes", "Remarks", "note", ""),
    ),
}
"""Place in the entry, label, option of `apsite new` and example of each question, by section, in the form's order."""

RARE = "What few methods have"
"""The section that is skipped unless a contributor asks for it."""

INTRODUCTIONS = {
    "The method and its paper": "One entry per method, after the paper that introduces it.",
    "When it prunes": "The survey first sorts methods by when the mask is made relative to training (section 3.2), "
    "then by the objectives with which the network is trained in each step.",
    "How it prunes": "The specifics of the mask (section 3.3): what is removed, whether every layer has the same "
    "sparsity, and by which rule parameters are chosen.",
    "What few methods have": "A loss beside the objectives, a method that this one extends, data that are not those of "
    "the task, quantization, factorization or binary weights. Most methods have none of these.",
    "How its paper evaluated it": "What the paper itself reports (survey, Table 2). It explains why numbers of papers "
    "and of the benchmark differ; it has no influence on the rank.",
    "Results and files": "All of this may be left empty and added later. Results of the benchmark are not entered "
    "here; the command apsite eval writes them.",
}
"""The text above the questions of a section."""

ROW_LABELS = {
    "dataset": ("Dataset", ""),
    "architecture": ("Network", ""),
    "structure": ("Structure", ""),
    "sparsity": ("Sparsity", "0.95"),
    "attack": ("Attack", "PGD"),
    "robust_accuracy": ("Robust accuracy", "0.47"),
    "clean_accuracy": ("Clean accuracy", "0.83"),
    "by": ("Measured by others", "RobustBench"),
    "source": ("Where it was read", "arXiv 2510.18381v1, Table 2"),
    "model_key": ("Model key", "HARP_Zhao2023Holistic_R18_CIFAR10_US_90"),
    "url": ("URL", "https://zenodo.org/records/1234567/files/model.pt"),
    "sha256": ("SHA-256", ""),
    "file_format": ("File name extension", ".pt"),
    "notes": ("Remark", ""),
}
"""Label and example of each field of a row."""

FIXED: dict[str, Any] = {
    "schema_version": 1,  # the version of the schema, no property of the method
    "aliases": [],  # a new method has no other keys
    "baseline": False,  # baselines are added by maintainers
    "in_survey": False,  # the methods of the survey are all there
}
"""Fields without a question: their value in a new entry, and why."""

DEFAULT_SOURCES = ("sources", "paper.url", "paper.title")
"""Answers of which the first given one is the source of every field of a new entry."""

TAKEN = (
    "“{found}” is taken, or looks like what another method is called; edit an existing entry on the page of its method."
)
"""What is wrong with the key or name of another method; the form's script fills it in, too."""
