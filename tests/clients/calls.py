"""The calls of published clients of the TracePass API, header by header as their sources send them.

They are ``tracepass-mcp-server`` 1.4 and ``n8n-nodes-tracepass`` 0.3 with n8n's own OAuth client. Both run on
Node: ``fetch`` and axios add headers of their own.
"""

from __future__ import annotations

import secrets
import uuid
from typing import Any

import requests

_TIMEOUT = 10


class McpServer:
    """The MCP server's calls of the API (``api-client.ts``), and what it tells its user (``result.ts``)."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._token = token

    def request(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, key: str = ""
    ) -> requests.Response:
        """Sends a request. A POST or PATCH without a body sends an empty object.

        Args:
            method, path, body: of the request.
            key: the Idempotency-Key of an earlier request that this one repeats; otherwise it is a new one.
        """
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Accept": "application/json",
            "X-Source": "mcp",
            "User-Agent": "node",
            "Accept-Language": "*",
            "Accept-Encoding": "gzip, deflate, br",
            "Sec-Fetch-Mode": "cors",
        }
        if method in ("POST", "PATCH"):
            headers |= {"Content-Type": "application/json", "Idempotency-Key": key or f"mcp-{uuid.uuid4()}"}
            body = body or {}
        return requests.request(method, self._url + path, headers=headers, json=body, timeout=_TIMEOUT)

    @staticmethod
    def explain(response: requests.Response) -> str:
        """The sentence that the user of an agent reads about a failed call."""
        body: dict[str, Any] = response.json()
        text = body.get("message") or _WITHOUT_MESSAGE.get(response.status_code) or body["error"]
        return f"{_PREFIXES.get(response.status_code, f'The API returned {response.status_code}.')} {text}"


_PREFIXES = {
    401: "Authentication failed:",
    403: "Not permitted on this account's plan:",
    404: "Not found:",
    409: "Conflict:",
    422: "Validation error:",
    429: "Rate limit reached:",
}
_WITHOUT_MESSAGE = {
    401: "the key is missing or invalid.",
    403: "this feature may need a higher plan.",
    404: "no resource matches that id or serial.",
    409: "this would collide with existing data.",
    422: "the request payload was rejected.",
    429: "the account's daily budget is spent.",
}


class N8nNode:
    """The calls of the n8n node. n8n's HTTP layer sends the node's default headers with each of them."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._token = token

    def request(
        self, method: str, path: str, body: dict[str, Any] | None = None, **query: Any
    ) -> requests.Response:
        """Sends a request; a Content-Type is there even without a body."""
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Accept": "application/json",
            "Content-Type": "application/json",
            "X-Source": "n8n",
            "User-Agent": "n8n",
            "Accept-Encoding": "gzip, compress, deflate, br",
        }
        url = self._url + path
        return requests.request(method, url, headers=headers, json=body, params=query, timeout=_TIMEOUT)

    def upload(self, product_id: str, data: bytes, filename: str, content_type: str) -> requests.Response:
        """Uploads a picture as n8n's HTTP Request node does: with the package ``form-data``."""
        boundary = "-" * 26 + str(secrets.randbelow(10**24)).zfill(24)
        head = (
            f"--{boundary}\r\n"
            f'Content-Disposition: form-data; name="file"; filename="{filename}"\r\n'
            f"Content-Type: {content_type}\r\n\r\n"
        )
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Accept": "application/json,text/html,application/xhtml+xml,text/*;q=0.9, */*;q=0.1",
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "User-Agent": "n8n",
        }
        body = head.encode() + data + f"\r\n--{boundary}--\r\n".encode()
        path = f"{self._url}/api/v1/products/{product_id}/images"
        return requests.post(path, headers=headers, data=body, timeout=_TIMEOUT)
