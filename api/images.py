"""``/api/v1/products/{id}/images``: docs/contract.md "Images"."""

from __future__ import annotations

import re
from typing import Final

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from api.alternative_text import alt_of_form
from api.body import json_body
from api.etags import expected_version
from api.idempotency import IdempotencyKeys
from api.metrics import UPLOAD_BYTES, count_outcome, stage
from api.multipart import read_form, upload_size
from api.products import product_answer
from api.requests import body_of_a_place, note
from api.schemas import ImagePatch
from api.writes import in_turn
from auth.bearer import BearerAuth, Principal
from auth.requester import requester
from auth.tokens import WRITE
from catalog.base import Catalog
from catalog.errors import ImageNotFound
from errors import InvalidFields
from products import Products
from sizes import Sizes
from turns import upload_place
from uploads import Uploads

# Stricter than int(), which accepts signs, spaces, underscores and the digits of other scripts.
_INDEX: Final = re.compile(r"0|[1-9][0-9]*")
_MAX_INDEX_DIGITS: Final = 9
_IMAGE: Final = re.compile(r"/products/[0-9a-f]{24}/images/([0-9a-f]{32})\.")


def images_blueprint(  # noqa: PLR0913, PLR0917  # what the calls need
    uploads: Uploads,
    products: Products,
    sizes: Sizes,
    catalog: Catalog,
    auth: BearerAuth,
    idempotency: IdempotencyKeys,
) -> Blueprint:
    """The image calls."""
    blueprint = Blueprint("images", __name__, url_prefix="/api/v1/products/<product_id>/images")

    @blueprint.post("")
    @count_outcome
    @auth.requires(WRITE)
    def upload_image(principal: Principal, product_id: str) -> ResponseReturnValue:
        skip_present = _if_exists_skip()
        product = uploads.admit(principal.workspace_id, product_id, skip_present=skip_present)
        with upload_place(requester(principal.workspace_id), upload_size()):
            with stage("parse"), body_of_a_place():
                upload, alts = read_form()
            alt = alt_of_form(alts)
            added = uploads.add(product, upload, skip_present=skip_present, alt=alt)
        body = {"imageUrl": added.image_url, "imageUrls": added.product.image_urls}
        note(imageId=image_id(added.image_url), outcome="created" if added.created else "present")
        if not added.created:
            return jsonify(body)
        UPLOAD_BYTES.inc(len(upload.file.data))
        return jsonify(body), 201, {"Location": added.image_url}

    @blueprint.patch("/<index>")
    @auth.requires(WRITE)
    @in_turn
    @idempotency.idempotent
    def describe_image(principal: Principal, product_id: str, index: str) -> ResponseReturnValue:
        sent = ImagePatch.model_validate_json(json_body())
        version = expected_version(catalog, principal.workspace_id, product_id)
        product = products.describe(
            principal.workspace_id, product_id, _index(index), sent.changes(), expected_version=version
        )
        return product_answer(product, sizes)

    @blueprint.delete("/<index>")
    @auth.requires(WRITE)
    @in_turn
    @idempotency.idempotent
    def delete_image(principal: Principal, product_id: str, index: str) -> ResponseReturnValue:
        version = expected_version(catalog, principal.workspace_id, product_id)
        product, removed = uploads.remove(
            principal.workspace_id, product_id, _index(index), expected_version=version
        )
        note(imageId=image_id(removed.url), outcome="deleted")
        return jsonify({"imageUrls": product.image_urls})

    return blueprint


def image_id(url: str) -> str | None:
    """The id of a hosted image, for the log; None for an external URL."""
    match = _IMAGE.search(url)
    return match[1] if match else None


def _if_exists_skip() -> bool:
    value = request.args.get("ifExists")
    if value not in (None, "skip"):
        raise InvalidFields({"ifExists": ["Must be 'skip'"]})
    return value == "skip"


def _index(text: str) -> int:
    if _INDEX.fullmatch(text) is None:
        raise InvalidFields({"index": ["Must be a non-negative integer"]})
    if len(text) > _MAX_INDEX_DIGITS:
        raise ImageNotFound
    return int(text)
