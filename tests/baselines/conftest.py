"""Networks and images, as for all tests that need torch."""

from tests.evaluation_fixtures import *  # noqa: F403
