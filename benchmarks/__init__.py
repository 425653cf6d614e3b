"""Measured speed, as ratios taken in one run: `make bench`. Nothing here is a test; times on busy machines mislead."""
