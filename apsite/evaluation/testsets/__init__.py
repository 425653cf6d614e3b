"""Test sets from their official files."""
