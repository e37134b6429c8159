"""Define the settings of the search index, for the step index and all that opens an index."""

from dataclasses import dataclass

from understudy.task.settings import require


@dataclass(frozen=True, slots=True)
class IndexConfig:
    """Where documents go, and how they are sent.

    Attributes:
        url: of Elasticsearch 9, http(s)://host:port; empty: what ELASTICSEARCH_URL names, else SQLite without a server.
        shards: primary shards of a new index; another number makes a new index, filled from the store.
        replicas: copies of each shard.
        workers: requests in flight.
        documents_per_request: most documents of a request.
        request_mb: most megabytes of a request; a longer text is a request of its own.
        retries: how often documents are sent again while the server is busy or away.
        max_backoff_s: longest wait in seconds before a retry; waits double from half a second.
        timeout_s: seconds a request may take.
        max_refused_share: in [0, 1]; the step fails when the index refuses a larger share of the documents.
    """

    url: str = ""
    shards: int = 1
    replicas: int = 1
    workers: int = 4
    documents_per_request: int = 1000
    request_mb: float = 8.0
    retries: int = 9
    max_backoff_s: float = 30.0
    timeout_s: float = 60.0
    max_refused_share: float = 0.05

    def __post_init__(self) -> None:
        """Check the rules."""
        for name in ("shards", "workers", "documents_per_request"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, got {getattr(self, name)}.")
        for name in ("replicas", "retries"):
            require(getattr(self, name) >= 0, f"{name} must be at least 0, got {getattr(self, name)}.")
        for name in ("request_mb", "max_backoff_s", "timeout_s"):
            require(getattr(self, name) > 0, f"{name} must be above 0, got {getattr(self, name)}.")
        is_address = not self.url or self.url.startswith(("http://", "https://"))
        require(is_address, f"url must be http(s)://host:port or empty, got '{self.url}'.")
        require("@" not in self.url, "url must hold no password, got one. Put an API key into ELASTICSEARCH_API_KEY.")
        require(0 <= self.max_refused_share <= 1, f"max_refused_share must be in [0, 1], got {self.max_refused_share}.")
