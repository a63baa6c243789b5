"""A running server for the tests in a browser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from playwright.sync_api import StorageState

from tests.pictures import jpeg
from tests.servers import Server

#: The email address of the site's admin.
EMAIL: Final = "ada@example.com"


@dataclass(frozen=True)
class Site:
    """A server with one workspace, an admin and a key. All browser tests of a process share it."""

    server: Server
    workspace_id: str
    key: str

    def api(self, method: str, path: str, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.key}"}
        url = f"{self.server.url}/api/v1{path}"
        answer = requests.request(method, url, headers=headers, timeout=20, **options)
        assert answer.ok, answer.text
        return answer.json()

    def state_of(self, session: str) -> StorageState:
        """The state of a browser that has this session."""
        host = urlsplit(self.server.url).hostname or ""
        return {"cookies": [{"name": "vetrina_session", "value": session, "domain": host, "path": "/"}]}

    def new_product(self, pictures: int = 0, **fields: str) -> dict[str, Any]:
        count = self.api("GET", "/products?showArchived=true")["data"]["total"]
        body = {"name": f"Lamp {count}", "model": f"L-{count}", "category": "furniture"} | fields
        product: dict[str, Any] = self.api("POST", "/products", json=body)
        for number in range(pictures):
            file = ("a.jpg", jpeg(64 + number, 48), "image/jpeg")
            self.api("POST", f"/products/{product['_id']}/images", files={"file": file})
        return self.product(product["_id"])

    def product(self, product_id: str) -> dict[str, Any]:
        return dict(self.api("GET", f"/products/{product_id}"))
