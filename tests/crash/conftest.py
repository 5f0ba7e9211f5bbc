"""A village whose service can be killed, on each database."""

import pytest

from tests.crash.killed_village import Village


@pytest.fixture(params=["sqlite", "postgresql"])
def village(request, tmp_path):
    url = None
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres")
        url = server.url(server.create())
    village = Village(tmp_path, url)
    yield village
    village.close()
