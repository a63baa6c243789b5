"""Connection strings: which are accepted, and that no error shows a part of one."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import closing

import pytest

from app import make_catalog
from catalog.errors import CatalogUnavailable
from catalog.mongo import MongoCatalog
from config import ConfigError, Settings
from tests.factories import new_workspace
from tests.mongo import MongoServer, new_database


@pytest.fixture
def uri(mongodb_uri: str) -> Iterator[str]:
    with new_database(mongodb_uri) as uri:
        yield uri


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://u:hun/ter2@127.0.0.1/vetrina",
        "mongodb://u:hun@ter2@127.0.0.1/vetrina",
        "mongodb://u:hun:ter2@127.0.0.1/vetrina",
        "mongodb://u:hun%ter2@127.0.0.1/vetrina",
        "mongodb://u:hunter2@127.0.0.1:port/vetrina",
        "mongodb://u:hunter2@127.0.0.1/vetrina?retryWrits=true",
        "mongodb://u:hunter2@127.0.0.1/vetrina?w=-1",
        "mongodb://u:hunter2@127.0.0.1/vetrina?tlsCAFile=/hunter2",
        "mongodb+srv://u:hunter2@a.example.com:1/vetrina",
    ],
)
def test_a_connection_string_that_can_not_be_read_is_refused_without_a_word_of_it(uri: str) -> None:
    with pytest.raises(ValueError, match="must be a MongoDB connection string") as caught:
        MongoCatalog(uri)
    shown = "".join(traceback.format_exception(caught.value))
    assert "hun" not in shown.split("ValueError", 1)[1]
    assert "ter2" not in shown.split("ValueError", 1)[1]
    settings = Settings(catalog_url=uri)
    assert "u:hun" not in repr(settings)
    assert "ter2" not in repr(settings)
    with pytest.raises(ConfigError, match="CATALOG_URL must be a MongoDB connection string") as refused:
        make_catalog(settings)
    assert "hun" not in str(refused.value)


def test_a_connection_string_without_a_database_means_vetrina(mongodb_uri: str) -> None:
    for uri in (mongodb_uri, f"{mongodb_uri.rstrip('/')}/?retryWrites=true&w=majority&appName=Cluster0"):
        with closing(MongoCatalog(uri)) as catalog:
            assert catalog._mongo._processes.get().database.name == "vetrina"


@pytest.mark.parametrize("compressor", ["zstd", "snappy"])
def test_a_compressor_whose_module_is_missing_is_a_warning(
    uri: str, compressor: str, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(MongoCatalog(f"{uri}?compressors={compressor}")) as catalog:
        catalog.check()
    (warning,) = [record for record in caplog.records if record.name == "catalog.mongo.connection"]
    assert warning.levelname == "WARNING"
    assert compressor in warning.getMessage()


@pytest.mark.parametrize("host", ["a.docdb.amazonaws.com", "a.mongo.cosmos.azure.com"])
def test_a_server_of_the_same_protocol_is_taken(host: str) -> None:
    with closing(MongoCatalog(f"mongodb://u:hunter2@{host}:27017/vetrina?tls=true&retryWrites=false")):
        pass


def test_a_wrong_password_is_one_sentence_that_names_authsource(mongodb: MongoServer) -> None:
    uri = f"mongodb://someone:hunter2@127.0.0.1:{mongodb.port}/vetrina"
    with closing(MongoCatalog(uri)) as catalog, pytest.raises(CatalogUnavailable, match="authSource=admin"):
        catalog.check()


def test_a_catalog_url_makes_a_mongo_catalog(uri: str) -> None:
    catalog = make_catalog(Settings.from_env({"CATALOG_URL": uri}))
    assert isinstance(catalog, MongoCatalog)
    workspace = new_workspace(catalog)
    assert catalog.list_workspaces() == [workspace]
    catalog.close()


def test_a_password_is_in_no_error_and_no_log(mongodb: MongoServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    catalog = MongoCatalog(f"mongodb://someone:hunter2@127.0.0.1:{mongodb.port}/vetrina")
    with pytest.raises(CatalogUnavailable, match="uthentication failed") as caught:
        catalog.check()
    catalog.close()
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in repr(catalog)
    assert "full error" not in str(caught.value)
    assert "hunter2" not in caplog.text
