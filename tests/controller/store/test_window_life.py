"""The life of windows on PostgreSQL: the same rows as on SQLite, and a crash after every commit changes nothing."""

import pytest

from tests.controller.village_site import Site, found

KEPT = (
    "trades",
    "positions",
    "setpoints",
    "readings",
    "postings",
    "balances",
    "headers",
    "windows",
    "orders",
    "requests",
)


@pytest.fixture
def postgres_site(postgres, loop, authority):
    """The village's service on PostgreSQL."""
    site = Site(postgres.url(postgres.create()), loop, authority)
    found(site, "village")
    yield site
    site.close()


def story(site):
    rows = site.rows(*KEPT)
    return {table: sorted(rows[table], key=repr) for table in KEPT}


def stumble(site, crash, instant):
    """Take the steps that are due, the machine stopping after each commit; how often it did."""
    crashes = 0
    while True:
        site.database.commits_left = 1
        try:
            site.advance(instant)
        except crash:
            crashes += 1
            site.crash()
            site.open()
        else:
            site.database.commits_left = None
            return crashes


@pytest.mark.slow
def test_windows_live_and_stumble_as_on_sqlite(make_site, postgres_site, crash):
    lite = make_site("village")
    lite.live(until=lite.end)
    crashes = []
    postgres_site.live(
        until=postgres_site.end, advance=lambda instant: crashes.append(stumble(postgres_site, crash, instant))
    )
    assert sum(crashes) == 4 * 5  # of each window: closed, cleared, begun, metered, settled
    wanted, got = story(lite), story(postgres_site)
    for table in KEPT:
        if table == "requests":  # of which some have ids by chance
            assert len(got[table]) == len(wanted[table])
        else:
            assert got[table] == wanted[table]
