"""A private PostgreSQL for the tests of the hot log."""

from tests.postgres_server import postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]
