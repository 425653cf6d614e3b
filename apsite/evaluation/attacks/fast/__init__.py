"""AutoAttack standard, l-inf, built in: the same algorithms with the same number of steps, faster.

Source: Croce and Hein, *Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
attacks*, ICML 2020.
"""
