"""gunicorn as it is shipped, with its settings from the environment and a bucket of moto's server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

from catalog.ids import new_id
from tests.api.test_metrics import samples
from tests.pictures import jpeg
from tests.s3 import new_bucket
from tests.servers import gunicorn


def get(url: str) -> requests.Response:
    return requests.get(url, timeout=60)


def test_several_workers_store_in_a_bucket_and_make_each_size_once(moto: str, tmp_path: Path) -> None:
    bucket = new_bucket(moto)
    environ = {
        "STORAGE_BACKEND": "r2",
        "R2_ENDPOINT_URL": moto,
        "R2_BUCKET": bucket,
        "R2_ACCESS_KEY_ID": "not-a-key-id",
        "R2_SECRET_ACCESS_KEY": new_id(),
        "R2_PUBLIC_URL": f"{moto}/{bucket}",
        "WEB_CONCURRENCY": "2",
        "IMAGE_SIZES": "32",
    }
    with gunicorn(tmp_path, **environ) as server:
        headers = {"Authorization": f"Bearer {server.issue_key()}"}
        body = {"name": "Pack", "model": "BP-1", "category": "batteries"}
        products = f"{server.url}/api/v1/products"
        product = requests.post(products, json=body, headers=headers, timeout=30).json()

        def upload(_: int) -> requests.Response:
            return requests.post(
                f"{products}/{product['_id']}/images",
                files={"file": ("hero.jpg", jpeg())},
                headers=headers,
                timeout=30,
            )

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(upload, range(8)))
        listed = requests.get(f"{products}/{product['_id']}", headers=headers, timeout=30).json()
        sizes = [size["url"] for image in listed["images"] for size in image["sizes"]]
        with ThreadPoolExecutor(8) as pool:
            served = list(pool.map(get, [url for url in sizes for _ in range(8)]))
        counts = samples(requests.get(f"{server.url}/metrics", timeout=30).text)
    assert {(answer.status_code, answer.headers["Content-Type"]) for answer in served} == {
        (200, "image/webp")
    }
    # Each is made once, by one of the workers, and the bucket sends it.
    assert len({answer.url for answer in served}) == 8
    assert all(answer.url.startswith(f"{moto}/{bucket}/") for answer in served)
    assert (counts["vetrina_sizes_total", "made"], counts["vetrina_sizes_total", "served"]) == (8, 64)
    assert [answer.status_code for answer in answers] == [201] * 8
    urls = {answer.json()["imageUrl"] for answer in answers}
    assert len(urls) == 8
    assert {requests.get(url, timeout=30).content for url in urls} == {jpeg()}
