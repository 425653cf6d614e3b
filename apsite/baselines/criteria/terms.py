"""The criteria of `apsite prune`: their term in the taxonomy, what they remove, where they are from, what they cost."""

from __future__ import annotations

from apsite.vocabulary import Criterion, Structure, Term

_US, _S = Structure.UNSTRUCTURED, Structure.STRUCTURED


class BaselineCriterion(Term):
    """A criterion of `apsite prune`. Options, series files and the documentation derive from this table.

    Attributes:
        term: The criterion of the taxonomy that it implements; ``None`` for random pruning.
        structure: What it removes.
        removes: What goes first, as a phrase.
        source: The paper that describes it, as author and year; empty for random pruning.
        epochs: Passes over the training images that it takes by default; 0 for one that only reads the weights.
        learning_rate: Peak of the learning rate by default; of no effect where nothing is learned by SGD.
    """

    term: Criterion | None
    structure: Structure
    removes: str
    source: str
    epochs: int
    learning_rate: float

    LWM = "lwm", Criterion.LWM, _US, "weights of lowest magnitude", "Han et al. 2015", 0, 0.0
    LAMP = "lamp", Criterion.LWM, _US, "weights of lowest magnitude relative to their layer", "Lee et al. 2021", 0, 0.0
    RANDOM = "random", None, _US, "random weights", "", 0, 0.0
    LIS = "lis", Criterion.LIS, _US, "weights of lowest learned importance score", "Sehwag et al. 2020", 2, 0.1
    SOLWM = ("solwm", Criterion.SOLWM, _US, "weights of lowest magnitude after ADMM on the sparsity", "Ye et al. 2019",
             3, 0.05)  # fmt: skip
    RELWM = ("relwm", Criterion.RELWM, _US, "weights of lowest magnitude after training with an L1 penalty",
             "Rakin et al. 2019", 2, 0.05)  # fmt: skip
    HGM = "hgm", Criterion.HGM, _US, "weights of smallest gradient of the robust loss", "Lim et al. 2021", 1, 0.1
    BCS = ("bcs", Criterion.BCS, _US, "weights that sampling the connections leaves at zero",
           "Özdenizci and Legenstein 2021", 3, 0.05)  # fmt: skip
    FILTER_L1 = "filter-l1", Criterion.LWM, _S, "filters of lowest L1 norm", "Li et al. 2017", 0, 0.0
    FILTER_LIS = ("filter-lis", Criterion.LIS, _S, "filters of lowest learned importance score",
                  "Zhao and Wressnegger 2023", 2, 0.1)  # fmt: skip
    FILTER_HGM = ("filter-hgm", Criterion.HGM, _S, "filters of smallest gradient of the robust loss",
                  "Lim et al. 2021", 1, 0.1)  # fmt: skip

    @property
    def learned(self) -> bool:
        """Whether it takes training images."""
        return self.epochs > 0
