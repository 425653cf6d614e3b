"""AutoAttack, HO-FMN, and how networks are run under them."""
