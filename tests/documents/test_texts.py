"""Texts that people write: what is accepted, and names that look alike."""

# ruff: noqa: E501, RUF001
from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsite.documents.texts import FORMATS, PATTERNS, skeleton

HONEST = {
    "name": (
        "HARP", "R-SNAP++", "S²", "Élan", "Müller-Prune", "Filter L1", "LWM global", "Cosentino19", "k=2 (ours)", "A/B",
        "L∞-Prune", "Łódź", "Straße", "v1.2", "Đỗ", "SR & GKP", "Ørsted", "Q̄-Net", "R&D #3", "“New” RST", "n×m", "HARP†", "RST*",
    ),
    "alias": ("BCSP_Özdenizc2021Training", "R-SNAP++", "v1.2", "S²", "a", "1", "Deadwooding", "A.B_c+d-e"),
    "person": (
        "Jane Doe", "Qi Zhao (赵琪)", "Özdenizci, O.", "O’Neil", "Иван Петров", "Γιώργος Παπαδόπουλος", "R2-D2",
        "نرگس\u200cزاده", "李雷", "김민수", "the authors", "Nguyễn Văn A", "Piras2024Adversarial", "Ł. Ñ.", "אבי כהן",
    ),
    "line": (
        "面向鲁棒性的剪枝：综述（第二版）", "ε-Robust Pruning at ℓ∞ = 8/255", "μTransfer for ΔW", "Win? — Yes!", "",
        "𝒪(n)", "निष्पक्ष छँटाई", "Обрезка сетей", "Test first 8", "conv1.weight", ".pt", "ℓp-norms", "c:/data", "R > 0",
    ),
    "text": ("A remark.\nAnother line.", "Indented:\n  yes", "⚠️ See Table 3", "第一行\n\u3000第二行", "50 % → 60 %"),
    "bibtex": (
        "@article{Doe2024Small}",
        "@inproceedings{a,\n  title = {{S}mall \\& {\\\"U}ber $\\ell_\\infty$ \\emph{x} \\textit{y}},\n  year = 2024\n}",
        "@misc{b, author = {Jos{\\'e} M{\\\"u}ller and {\\L}ukasz}, url = {https://medium.com/@jane/x}, note = {\\href{https://x.org}{a\\_b}}}",
        '@ARTICLE {c:d/e-2, title = "A {\\textregistered} $\\mathrm{L}_2 \\iff x$ \\url{https://x.org}"}',
    ),
    "url": (
        "https://example.org", "https://example.org:8443/a?b=c#d", "https://arxiv.org/abs/2409.01249",
        "https://xn--bcher-kva.example/a", "https://a.b-c.co.uk/%20x", "https://v1-2-3.example.org/",
        "hf://jane/tiny/model.pt", "hf://org-1/repo.name@main/sub/.hidden/x.pt", "doi:10.5281/zenodo.123/m.pt",
        "https://github.com/a/b/../c", "gdrive://1a-B_c", "https://1.example.org/", "https://8.8.8.8/x",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("rule", "text"), [(rule, text) for rule, texts in HONEST.items() for text in texts])
def test_honest_texts_are_accepted(rule: str, text: str) -> None:
    assert FORMATS[rule](text) == ""


@pytest.mark.parametrize(("one", "other"), [
    ("Rival", "R\u00efval"), ("HYDRA", "HYDRÁ"), ("Harmonic", "Harrnonic"), ("Twin", "Tvvin"),
    ("S0", "SO"), ("R–X", "R-X"), ("O'Neil", "O’Neil"), ("Łódź", "Lodz"), ("A  B", "a b"), ("LWM1", "LWMl"),
])  # fmt: skip
def test_names_that_look_alike_share_a_skeleton(one: str, other: str) -> None:
    assert skeleton(one) == skeleton(other)


def test_names_that_look_different_do_not() -> None:
    names = (
        "RST",
        "RSR",
        "R-ST",
        "RST+",
        "RST++",
        "RST2",
        "RST3",
        "SR-T",
        "Prune",
        "Prunes",
        "LAMP",
        "LWM",
        "LWM global",
    )
    assert len({skeleton(name) for name in names}) == len(names)


@given(st.text(max_size=30), st.sampled_from(sorted(FORMATS)))
def test_whatever_is_written_is_judged_in_one_printable_line(text: str, rule: str) -> None:
    found = FORMATS[rule](text)
    assert found.isprintable()
    assert len(found) < 300
    if not found and rule in PATTERNS:
        assert unicodedata.is_normalized("NFC", text)
        assert all(unicodedata.category(letter) not in ("Cc", "Cs", "Co", "Cn") or letter == "\n" for letter in text)
