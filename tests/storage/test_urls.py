"""The URL of the database in words."""

import pytest

from earmark.storage.urls import check, describe

PASSWORD = "swordfish"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://me:secret@db/earmark", "PostgreSQL at db:5432, database 'earmark', user 'me'"),
        ("postgres://db1,db2:5433/x?user=me", "PostgreSQL at db1:5432,db2:5433, database 'x', user 'me'"),
        ("postgresql://m%40e:%23@[::1]:600/a%20b", "PostgreSQL at [::1]:600, database 'a b', user 'm@e'"),
        ("postgresql://[::1]/x", "PostgreSQL at [::1]:5432, database 'x'"),
        ("postgresql://u@/x?host=/run/pg&port=5", "PostgreSQL at /run/pg, database 'x', user 'u'"),
        ("postgresql://", "PostgreSQL at the default address"),
    ],
)
def test_it_says_where_a_url_leads(url, words) -> None:
    check(url)
    assert describe(url) == words


@pytest.mark.parametrize("character", ["@", "#", "/", "?", ":", "[", "]"])
def test_a_character_that_was_not_escaped_is_found(character) -> None:
    url = f"postgresql://me:{character}{PASSWORD}@db/earmark"
    if character == ":":
        check(url)  # asyncpg splits the user from the password at the first one
        return
    with pytest.raises(ValueError, match="must be written as %40") as caught:
        check(url)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("port", ["x", "0", "65536", "-1", "5432x"])
def test_a_port_that_is_no_port_is_found(port) -> None:
    with pytest.raises(ValueError, match="its port is not a number from 1 to 65535"):
        check(f"postgresql://me@db:{port}/earmark")


@pytest.mark.parametrize(("url", "problem"), [("", "it is empty"), ("mysql://db/x", "postgresql://")])
def test_what_is_no_url_of_postgresql_is_found(url, problem) -> None:
    with pytest.raises(ValueError, match=problem):
        check(url)
