"""Tests; the folders mirror ``apsite/``."""
