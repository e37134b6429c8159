"""An index of either kind, over a store in a folder."""

import pytest

from understudy.search import opening
from understudy.search.settings import IndexConfig

QUICK = IndexConfig(retries=8, max_backoff_s=0.2, replicas=0)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    for name in ("ELASTICSEARCH_URL", "ELASTICSEARCH_API_KEY", "ELASTICSEARCH_API_KEY_FILE", "ELASTICSEARCH_CA_CERTS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=["sqlite", pytest.param("elasticsearch", marks=pytest.mark.xdist_group("elasticsearch"))])
def place(request):
    """Return an index's address and the card's name: SQLite's address is empty."""
    if request.param == "sqlite":
        return "", "hotel-tips"
    return request.getfixturevalue("es_url"), request.getfixturevalue("card_name")


@pytest.fixture
def index(place, store):
    """Open an empty index."""
    url, name = place
    with opening.opened(store, name, url, QUICK) as opened:
        yield opened
