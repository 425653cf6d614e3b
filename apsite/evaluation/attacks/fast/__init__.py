"""AutoAttack standard, l-inf, in our own implementation: the same algorithms and budgets, run faster.

Source: Croce and Hein, *Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
attacks*, ICML 2020.
"""
