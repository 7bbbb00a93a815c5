"""Two people who signed up."""

import pytest

from tests.clients.python.sessions import Account, sign_up


@pytest.fixture(scope="session")
def ada() -> Account:
    return sign_up()


@pytest.fixture(scope="session")
def grace() -> Account:
    return sign_up()
