"""Two people who signed up."""

import pytest

from tests.clients.python.sessions import Account, make_admin, sign_up


@pytest.fixture(scope="session")
def ada() -> Account:
    account = sign_up()
    make_admin(account)
    return account


@pytest.fixture(scope="session")
def grace() -> Account:
    return sign_up()
