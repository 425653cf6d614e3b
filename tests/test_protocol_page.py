"""The page on the protocol states the numbers by which the evaluator works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from apsite.catalogue import load_catalogue
from apsite.comparable import LEVEL
from apsite.documents.json_files import read_json
from apsite.metrics import binomial_bound
from apsite.protocol import (
    APB_1_ATTACKS,
    CHECK_LIMIT,
    CHECKED_SURVIVORS,
    CLEAN_DIFFERENCE,
    CURVE_GAP_IMAGES,
    CURVE_GAP_SIZES,
    CURVE_GAPS,
    DETECTION,
    FAB_DROP_DISTANCE,
    FAB_DROP_FALL,
    FAB_DROP_GRADIENT,
    FAB_DROP_STEP,
    FIXED_CONFIGURATION,
    FREE,
    INFLATION_LIMIT,
    SCREENED,
    SCREENED_BROKEN,
    SEARCH_SPACE,
    SEED_DIFFERENCE,
    SPARSITY_LIMIT,
    SPARSITY_WARNING,
    VERIFICATION_ALPHA,
    Preset,
    Settings,
)
from apsite.validation.verification import breaks_allowed, fewest_to_draw
from apsite.vocabulary import Attack, AttackName, Dataset, Structure


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    """Text of the page."""
    return (repository / "docs/protocol.md").read_text(encoding="utf-8")


def test_the_page_states_settings_of_the_protocol(page: str) -> None:
    default = Settings()
    assert (
        f"The search tries {default.trials} configurations with {default.search_steps} steps each on "
        f"{default.search_samples} correctly classified images"
    ) in page
    assert f"with {default.attack_steps} steps." in page
    fixed = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in FIXED_CONFIGURATION.items())
    assert f"the same for all networks ({fixed})" in page
    space = {name: "8/255" if name == "learning_rate" else f"{low:g}" for name, (low, _) in SEARCH_SPACE.items()}
    assert SEARCH_SPACE["learning_rate"][0] == 8 / 255
    for name, low in space.items():
        stated = f"{name.replace('_', ' ')} from {low} to {SEARCH_SPACE[name][1]:g}"
        assert stated in page.replace("10 on a logarithmic scale", "10"), stated


def test_the_page_states_each_preset(page: str) -> None:
    assert re.findall(r"^\| `([\w-]+)` \|", page, flags=re.MULTILINE) == [preset.value for preset in Preset]
    quick = Settings.of(Preset.QUICK)
    assert (
        f"{quick.n_examples} random images, a search of {quick.trials} trials on {quick.search_samples} images with "
        f"{quick.search_steps} steps each, and {quick.attack_steps} steps of FMN"
    ) in page
    assert f"on the first {Settings.of(Preset.PAPER).left_out:,} images" in page


def test_the_page_states_what_a_search_may_leave_out(page: str, repository: Path) -> None:
    """The rule of FAB, the check of TF32, and the survivors that a screening counts on, counted again from records."""
    own = [stages for record in load_catalogue(repository).records.values() if (stages := record.results.stages)]
    assert sum(stages[Attack.APGD_T].robust_after for stages in own) == SCREENED
    assert sum(stages[Attack.FAB_T].broken + stages[Attack.SQUARE].broken for stages in own) == SCREENED_BROKEN
    for stated in (
        f"After {FAB_DROP_STEP} of its 100 steps",
        f"farther than {FAB_DROP_DISTANCE} ε away, and came nearer by less than {FAB_DROP_FALL * 100:g} % in",
        f"was below {FAB_DROP_GRADIENT * 100:g} %",
        f"of {CHECKED_SURVIVORS} survivors that APGD-CE and APGD-T attack again",
        f"at most {CHECK_LIMIT * 100:g} % may break",
        f"broke {SCREENED_BROKEN} of {SCREENED:,} survivors, so at most "
        f"{100 * binomial_bound(SCREENED_BROKEN, SCREENED):.1f} % of such survivors",
    ):
        assert stated in page, stated


def test_the_page_states_how_far_a_curve_may_be_off(page: str, repository: Path) -> None:
    """As our measurement found it, whose counts the benchmark page has."""
    found = read_json(repository / "benchmarks/results/amd-epyc-avx512.json")["rows"]
    gaps: dict[str, list[float]] = {}
    for row in found:
        if row["kind"] == "curve":
            assert row["facts"]["images"] == CURVE_GAP_IMAGES
            assert row["size"] == CURVE_GAP_SIZES[len(gaps.setdefault(row["network"], []))]
            gaps[row["network"]].append(round(100 * row["facts"]["broken"] / CURVE_GAP_IMAGES, 1))
    assert {network: tuple(values) for network, values in gaps.items()} == CURVE_GAPS
    assert f"{CURVE_GAP_IMAGES} random test images" in page
    assert f"| Network | {' | '.join(f'{size}/255' for size in CURVE_GAP_SIZES)} |" in page
    for network, values in CURVE_GAPS.items():
        assert f"| {network} | {' | '.join(f'{value:.1f}' for value in values)} |" in page


def test_the_page_states_what_is_compared(page: str) -> None:
    for structure in Structure:
        assert ", ".join(f"{sparsity:.0%}".replace("%", " %") for sparsity in structure.sparsities) in page
    for dataset in Dataset:
        assert f"{dataset.ranked_samples:,}" in page
        assert dataset.epsilon in page
    first, *between, last = (attack.label for attack in Attack)
    assert f"{', '.join([first, *between])} and {last}, one after another" in page
    assert f"more than {SPARSITY_WARNING * 100:g} points from the declared one is a warning" in page
    assert f"more than {SPARSITY_LIMIT * 100:g} points an error" in page
    assert f"| leads | the adjusted p-value is below {LEVEL:g} |" in page


def test_the_page_states_the_rule_of_verification(page: str) -> None:
    assert f"at most {CLEAN_DIFFERENCE:.1%}".replace("%", " %") in page
    assert f"in {1 - VERIFICATION_ALPHA:.0%} of".replace("%", " %") in page
    assert f"on {SEED_DIFFERENCE:.1%} of the robust samples".replace("%", " %") in page
    assert f"with a probability of {DETECTION:.0%}".replace("%", " %") in page
    assert INFLATION_LIMIT == 0.01
    assert "less than one point of the test set" in page
    drawn = fewest_to_draw(4540, 10_000)
    assert f"claims 4,540 of 10,000 samples as robust, {drawn} are drawn, and at most {breaks_allowed(drawn)}" in page


def test_the_page_states_what_may_be_chosen(page: str) -> None:
    words = {
        "batch_size": "batch size",
        "seed": "seed",
        "engine": "AutoAttack engine",
        "remove_channels": "fully pruned channels",
        "fab_drop_rows": "FAB gives up hopeless targets",
    }
    (chosen,) = re.findall(r"^## What you may choose freely\n\n(.*?)\n\n", page, re.MULTILINE | re.DOTALL)
    assert all(word in chosen for word in words.values())
    assert words.keys() == FREE - {"epsilon", "n_examples", "sample"}


def test_every_attack_is_described_and_has_its_module(page: str, repository: Path) -> None:
    """A row of the vocabulary alone is no attack."""
    for attack in AttackName:
        assert attack.label in page
        assert attack in APB_1_ATTACKS or (repository / f"apsite/evaluation/attacks/{attack.value}.py").is_file()
