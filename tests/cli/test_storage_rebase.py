from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from flask.testing import FlaskCliRunner
from werkzeug.test import TestResponse

from app import create_app, make_storage
from catalog.base import Catalog, Image, Product
from catalog.errors import CatalogUnavailable
from catalog.identity import Role, Workspace
from config import Settings
from storage.base import StorageBackend, StorageUnavailable
from tests.api.fixtures import FORM_TYPE, form, on_both_catalogs
from tests.cli.conftest import r2_settings
from tests.conftest import PUBLIC_URL
from tests.factories import (
    a_product,
    client_with,
    current,
    externals,
    hosted_image,
    issue_key,
    new_product,
    new_session,
    new_user,
)
from tests.faults import before_the_next
from tests.pictures import jpeg
from tests.servers import free_port
from tests.storage.contract import put

OLD = "http://10.0.0.1:8000"

Run = Callable[..., Result]
NewProduct = Callable[..., Product]


@pytest.fixture
def rebase(runner: FlaskCliRunner) -> Run:
    return lambda *args: runner.invoke(args=["storage", "rebase", "--from", *(args or (OLD,))])


@pytest.fixture
def product_with(catalog: Catalog, storage: StorageBackend, workspace: Workspace) -> NewProduct:
    """Creates a product that has an image with each of these URLs; ``{}`` stands for the key of the image."""

    def make(*urls: str) -> Product:
        product = a_product(workspace)
        images = []
        for number, url in enumerate(urls):
            key = f"{workspace.id}/products/{product.id}/images/{number:032x}.png"
            put(storage, key, b"bytes")
            images.append(hosted_image(key=key, url=url.format(key)))
        product = replace(product, images=tuple(images))
        catalog.create_product(product)
        return product

    return make


def url_of(image: Image) -> str:
    return f"{PUBLIC_URL}/media/{image.key}"


def rebased(image: Image) -> Image:
    """The image as the command leaves it, which remembers the URL that it had."""
    new = url_of(image)
    return image if image.url == new else replace(image, url=new, earlier_urls=(image.url,))


@on_both_catalogs
def test_the_urls_of_an_earlier_address_follow_the_server(
    rebase: Run, catalog: Catalog, product_with: NewProduct
) -> None:
    first = product_with(f"{OLD}/media/{{}}", f"{PUBLIC_URL}/media/{{}}", f"{OLD}/media/{{}}")
    second = product_with(f"{OLD}/media/{{}}")
    done = product_with(f"{PUBLIC_URL}/media/{{}}")

    result = rebase()

    assert (result.exit_code, result.stdout, result.stderr) == (
        0,
        "3 images of 2 products have their new URL, 0 are left as they are.\n",
        "",
    )
    for product in (first, second):
        after = current(catalog, product)
        assert after.images == tuple(map(rebased, product.images))
        assert after.version == product.version + 1
    assert current(catalog, done) == done
    again = rebase()
    assert again.stdout == "0 images of 0 products have their new URL, 0 are left as they are.\n"
    assert current(catalog, first).version == first.version + 1


@pytest.mark.parametrize(
    "url",
    [
        f"{OLD}/other/{{}}",
        f"{OLD}/media//{{}}",
        f"{OLD}/media/{{}}?v=1",
        f"{OLD}/media/{{}}.png",
        f"{OLD}:80/media/{{}}",
        f"{OLD.upper()}/media/{{}}",
        f"{OLD}1/media/{{}}",
        "https://cdn.example.com/{}",
    ],
)
def test_a_url_that_is_not_exactly_under_the_earlier_address_stays(
    rebase: Run, catalog: Catalog, product_with: NewProduct, url: str
) -> None:
    product = product_with(url)
    assert rebase().stdout == "0 images of 0 products have their new URL, 0 are left as they are.\n"
    assert current(catalog, product) == product


def test_an_external_url_under_the_earlier_address_stays(
    rebase: Run, catalog: Catalog, workspace: Workspace, product_with: NewProduct
) -> None:
    hosted = product_with(f"{OLD}/media/{{}}").images[0]
    external = Image(url=hosted.url)
    product = a_product(workspace, images=(external, *externals(1)))
    catalog.create_product(product)
    assert rebase().stdout == "1 images of 1 products have their new URL, 0 are left as they are.\n"
    assert current(catalog, product) == product


def test_external_images_of_a_changed_product_stay_in_their_places(
    rebase: Run, catalog: Catalog, product_with: NewProduct
) -> None:
    product = product_with(f"{OLD}/media/{{}}")
    mixed = (*externals(1), product.images[0], Image(url=f"{OLD}/elsewhere.png", alt={"en": "Chair"}))
    catalog.update_product(product.workspace_id, product.id, {"images": mixed})
    rebase()
    assert current(catalog, product).images == (mixed[0], rebased(mixed[1]), mixed[2])


@pytest.mark.parametrize("old", [OLD, f"{OLD}/", f"{OLD}/media", f"{OLD}/media/"])
def test_the_earlier_address_is_given_with_or_without_the_path_of_the_pictures(
    rebase: Run, catalog: Catalog, product_with: NewProduct, old: str
) -> None:
    product = product_with(f"{OLD}/media/{{}}")
    assert rebase(old).exit_code == 0
    assert current(catalog, product).image_urls == [url_of(product.images[0])]


@on_both_catalogs
def test_a_dry_run_counts_and_changes_nothing(
    rebase: Run, catalog: Catalog, product_with: NewProduct
) -> None:
    product = product_with(f"{OLD}/media/{{}}")
    result = rebase(OLD, "--dry-run")
    assert (result.exit_code, result.stdout) == (
        0,
        "1 images of 1 products have an earlier URL, 0 are left as they are.\n",
    )
    assert current(catalog, product) == product


def test_an_image_that_the_configured_store_does_not_have_keeps_its_url(
    rebase: Run, catalog: Catalog, storage: StorageBackend, product_with: NewProduct
) -> None:
    product = product_with(f"{OLD}/media/{{}}", f"{OLD}/media/{{}}")
    missing, present = product.images
    storage.delete(missing.key or "")
    result = rebase()
    assert (result.exit_code, result.stdout, result.stderr) == (
        1,
        "1 images of 1 products have their new URL, 1 are left as they are.\n",
        f"{missing.key} is not in this store: its URL stays\n",
    )
    assert current(catalog, product).images == (missing, rebased(present))


@on_both_catalogs
def test_a_change_at_the_same_time_is_kept(
    rebase: Run, catalog: Catalog, product_with: NewProduct, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = product_with(*3 * [f"{OLD}/media/{{}}"])
    kept = product.images[1:]
    uploaded = hosted_image(url=f"{OLD}/media/other")

    def act() -> None:
        catalog.remove_image(product.workspace_id, product.id, 0)
        catalog.append_image(product.workspace_id, product.id, uploaded)

    before_the_next(monkeypatch, catalog, "update_product", act)
    assert rebase().exit_code == 0
    assert current(catalog, product).images == (
        *map(rebased, kept),
        uploaded,
    )


def test_a_product_that_is_deleted_meanwhile_is_no_error(
    rebase: Run, catalog: Catalog, product_with: NewProduct, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = product_with(f"{OLD}/media/{{}}")
    before_the_next(
        *(monkeypatch, catalog, "update_product"),
        lambda: catalog.delete_product(product.workspace_id, product.id),
    )
    assert rebase().exit_code == 0


@pytest.mark.parametrize(
    "error", [StorageUnavailable("no answer"), CatalogUnavailable(), KeyboardInterrupt()]
)
def test_a_run_that_stopped_is_run_again(
    rebase: Run,
    catalog: Catalog,
    storage: StorageBackend,
    product_with: NewProduct,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
) -> None:
    products = [product_with(f"{OLD}/media/{{}}") for _ in range(3)]
    owner: Any = storage if isinstance(error, StorageUnavailable) else catalog
    method = "list" if owner is storage else "update_product"
    original = getattr(owner, method)

    def fail_at_the_second(*args: Any, **options: Any) -> Any:
        if any(products[1].id in str(argument) for argument in args):
            raise error
        return original(*args, **options)

    monkeypatch.setattr(owner, method, fail_at_the_second)
    result = rebase(OLD, "--jobs", "1")
    assert result.exit_code == 1
    reason = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
    assert result.stderr == f"Stopped: {reason}. Run it again to continue.\n"
    monkeypatch.setattr(owner, method, original)
    result = rebase(OLD, "--json")
    body = json.loads(result.stdout)
    assert body["stopped"] is None
    assert 1 <= body["images"] <= 2  # of the three, another job may have been under way
    assert all(current(catalog, each).image_urls == [url_of(each.images[0])] for each in products)


def test_json_is_one_object(rebase: Run, product_with: NewProduct) -> None:
    product_with(f"{OLD}/media/{{}}", f"{OLD}/media/{{}}")
    expected = {"images": 2, "products": 1, "left": 0, "stopped": None}
    for args in (["--dry-run"], []):
        result = rebase(OLD, "--json", *args)
        assert (result.exit_code, json.loads(result.stdout)) == (0, expected)


@pytest.mark.parametrize(
    ("old", "said"),
    [
        ("old.example.com", "--from takes an earlier PUBLIC_URL or R2_PUBLIC_URL"),
        ("ftp://old.example.com", "--from takes an earlier PUBLIC_URL or R2_PUBLIC_URL"),
        ("https:///x", "--from takes an earlier PUBLIC_URL or R2_PUBLIC_URL"),
        ("https://old.example.com/?a=b", "--from takes an earlier PUBLIC_URL or R2_PUBLIC_URL"),
        (PUBLIC_URL, "--from is the address that the settings have now"),
        (f"{PUBLIC_URL}/media/", "--from is the address that the settings have now"),
    ],
)
def test_an_address_that_can_not_be_an_earlier_one_is_refused(rebase: Run, old: str, said: str) -> None:
    result = rebase(old)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


def test_the_domain_of_a_bucket_changes(
    tmp_path: Path, moto: str, bucket: str, catalog: Catalog, workspace: Workspace
) -> None:
    settings = r2_settings(tmp_path, moto, bucket, backend="r2")
    product = a_product(workspace)
    prefix = f"{workspace.id}/products/{product.id}/images"
    here, on_disk = f"{prefix}/{'0' * 32}.png", f"{prefix}/{'1' * 32}.png"
    bucket_storage = make_storage(settings, "r2")
    put(bucket_storage, here, b"bytes")
    images = (
        hosted_image(key=here, url=f"https://old-bucket.example/{here}"),
        hosted_image(key=on_disk, url=f"https://old-bucket.example/media/{on_disk}"),
    )
    catalog.create_product(replace(product, images=images))
    runner = create_app(settings, catalog=catalog).test_cli_runner()
    result = runner.invoke(args=["storage", "rebase", "--from", "https://old-bucket.example"])
    assert result.stdout == "1 images of 1 products have their new URL, 1 are left as they are.\n"
    assert current(catalog, product).image_urls == [bucket_storage.public_url(here), images[1].url]


# --- what people and clients see


def pictures_that_the_policy_blocks(page: TestResponse) -> set[str]:
    """The addresses of pictures of a page of the console that a browser would not load."""
    policy = page.headers["Content-Security-Policy"]
    allowed = re.findall(r"img-src ([^;]*);", policy)[0].split()
    pictures = set(re.findall(r'<img[^>]* src="(http[^"]+)"', page.text))
    assert pictures
    return {url for url in pictures if not any(url.startswith(f"{origin}/") for origin in allowed)}


@on_both_catalogs
def test_after_a_change_of_public_url_doctor_names_the_command_that_shows_the_pictures_again(
    settings: Settings, catalog: Catalog, workspace: Workspace
) -> None:
    product = new_product(catalog, workspace)
    key = issue_key(catalog, workspace)
    path = f"/api/v1/products/{product.id}"

    def app_at(url: str) -> Flask:
        return create_app(replace(settings, public_url=url), catalog=catalog)

    sent = client_with(app_at(OLD), key).post(f"{path}/images", data=form(jpeg()), content_type=FORM_TYPE)
    old_url = str((sent.json or {})["imageUrl"])
    assert old_url.startswith(f"{OLD}/media/")

    new = f"http://127.0.0.1:{free_port()}"
    app = app_at(new)
    runner, client, browser = app.test_cli_runner(), client_with(app, key), app.test_client()
    cookie = new_session(catalog, new_user(catalog, workspace, Role.ADMIN))
    browser.set_cookie("vetrina_session", cookie)
    page = f"/console/products/{product.id}"
    assert pictures_that_the_policy_blocks(browser.get(page)) == {old_url}
    doctor = runner.invoke(args=["doctor"])
    warning = (
        f"warning URLs: 1 of 1 products that were looked at have images with the address {OLD}: "
        f"run `flask --app wsgi storage rebase --from {OLD}`"
    )
    assert warning in doctor.stdout.splitlines()
    etag = client.get(path).headers["ETag"]
    stale_list = {"imageUrls": [old_url, "https://cdn.example.com/0.png"]}

    assert runner.invoke(args=["storage", "rebase", "--from", OLD]).exit_code == 0

    assert pictures_that_the_policy_blocks(browser.get(page)) == set()
    assert "warning URLs" not in runner.invoke(args=["doctor"]).stdout
    body = client.get(path).json or {}
    assert body["imageUrls"] == [old_url.replace(OLD, new)]
    assert client.get(body["imageUrls"][0].removeprefix(new), buffered=True).status_code == 200
    stale = client.patch(path, json={"imageUrls": []}, headers={"If-Match": etag})
    assert stale.status_code == 412
    # A client may still have the list that it read before.
    changed = client.patch(path, json=stale_list).json or {}
    assert changed["imageUrls"] == [*body["imageUrls"], "https://cdn.example.com/0.png"]
    assert changed["images"][0] == body["images"][0]
    assert client.patch(path, json={"imageUrls": [old_url, old_url]}).status_code == 400
    assert client.delete(f"{path}/images/0").json == {"imageUrls": ["https://cdn.example.com/0.png"]}
    assert list(make_storage(settings, "disk").list()) == []


def test_doctor_looks_at_products_of_all_ages(
    runner: FlaskCliRunner, catalog: Catalog, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.stored_urls.PAGE", 3)
    image = hosted_image()
    image = replace(image, url=f"{PUBLIC_URL}/media/{image.key}")
    products = [
        new_product(catalog, workspace, id=f"{0x60000000 + day * 86400:08x}{day:016x}", images=(image,))
        for day in range(60)
    ]
    assert "warning URLs" not in runner.invoke(args=["doctor"]).stdout
    old = replace(image, url=f"{OLD}/media/{image.key}")
    for index in (0, 30, 59):
        id_ = products[index].id
        catalog.update_product(workspace.id, id_, {"images": (old,)})
        assert f"have images with the address {OLD}: " in runner.invoke(args=["doctor"]).stdout
        catalog.update_product(workspace.id, id_, {"images": (image,)})


def test_doctor_names_the_migration_for_images_with_the_address_of_the_other_store(
    tmp_path: Path, moto: str, bucket: str, catalog: Catalog, workspace: Workspace
) -> None:
    key = f"{workspace.id}/products/{'0' * 24}/images/{'0' * 32}.png"
    image = hosted_image(key=key, url=f"{PUBLIC_URL}/media/{key}")
    new_product(catalog, workspace, images=(image,))
    app = create_app(r2_settings(tmp_path, moto, bucket, backend="r2"), catalog=catalog)
    assert app.test_cli_runner().invoke(args=["doctor"]).stdout.splitlines()[-1] == (
        "warning URLs: 1 of 1 products that were looked at have images with the address of the other store: "
        "run `flask --app wsgi storage migrate`"
    )


def test_an_image_remembers_its_last_five_addresses(
    settings: Settings, catalog: Catalog, product_with: NewProduct
) -> None:
    product = product_with(f"{OLD}/0/media/{{}}")
    for number in range(7):
        app = create_app(replace(settings, public_url=f"{OLD}/{number + 1}"), catalog=catalog)
        args = ["storage", "rebase", "--from", f"{OLD}/{number}"]
        assert app.test_cli_runner().invoke(args=args).exit_code == 0
    (image,) = current(catalog, product).images
    assert image.url == f"{OLD}/7/media/{image.key}"
    assert image.earlier_urls == tuple(f"{OLD}/{number}/media/{image.key}" for number in range(2, 7))
