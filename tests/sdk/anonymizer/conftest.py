"""A portrait, sealed once for all tests that only look at it."""

import pytest
from held_keys import Keys, portrait

from faceseal import FAST, Photo, anonymize


@pytest.fixture(scope="session")
def keys():
    return Keys()


@pytest.fixture(scope="session")
def sealed(keys):
    return anonymize(Photo(portrait()), keys=keys, profile=FAST)


@pytest.fixture(scope="session")
def bare(keys):
    """Sealed without a capsule."""
    return anonymize(Photo(portrait()), keys=keys, profile=FAST, capsule=False)
