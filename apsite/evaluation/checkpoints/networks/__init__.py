"""Networks of the benchmark: few modules, described by many small layouts. Start at :mod:`.registry`."""
