"""Test sets from their official files: one module per dataset, listed in `datasets`."""
