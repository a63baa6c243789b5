"""``/api/v1/products``: docs/contract.md "Products"."""

from __future__ import annotations

from typing import Final

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue

from api.answers import large_answer
from api.body import json_body
from api.etags import expected_version, product_etag, require_match
from api.idempotency import IdempotencyKeys
from api.requests import note
from api.schemas import (
    ProductCreate,
    ProductListQuery,
    ProductPatch,
    deleted_json,
    product_json,
    product_list_json,
)
from api.writes import in_turn
from auth.bearer import BearerAuth, Principal
from auth.tokens import READ, WRITE
from catalog.base import ARCHIVED, Catalog, Product, ProductChanges
from products import Products
from sizes import Sizes

_CACHING: Final = {"Cache-Control": "private, no-cache"}


def product_answer(product: Product, sizes: Sizes) -> Response:
    """A product as the answer to a request, with its entity tag."""
    response = jsonify(product_json(product, sizes))
    response.set_etag(product_etag(product))
    response.headers.update(_CACHING)
    return response


def products_blueprint(
    products: Products, sizes: Sizes, catalog: Catalog, auth: BearerAuth, idempotency: IdempotencyKeys
) -> Blueprint:
    """The product calls."""
    blueprint = Blueprint("products", __name__, url_prefix="/api/v1/products")

    def answer(product: Product) -> Response:
        return product_answer(product, sizes)

    @blueprint.post("")
    @auth.requires(WRITE)
    @in_turn
    @idempotency.idempotent
    def create_product(principal: Principal) -> ResponseReturnValue:
        sent = ProductCreate.model_validate_json(json_body())
        product = products.create(principal.workspace_id, sent.new_product())
        note(productId=product.id, outcome="created")
        return answer(product), 201, {"Location": f"{request.path}/{product.id}"}

    @blueprint.get("")
    @auth.requires(READ)
    def list_products(principal: Principal) -> ResponseReturnValue:
        query = ProductListQuery.of(request.args.to_dict(flat=False))

        def make() -> Response:
            page = catalog.list_products(principal.workspace_id, query)
            return jsonify(product_list_json(page, query, sizes))

        return large_answer(principal.workspace_id, make), 200, _CACHING

    @blueprint.get("/<product_id>")
    @auth.requires(READ)
    def get_product(principal: Principal, product_id: str) -> ResponseReturnValue:
        product = catalog.get_product(principal.workspace_id, product_id)
        require_match(product)
        # Werkzeug would compare the tags of If-Match again, and strongly.
        return answer(product).make_conditional(request.environ | {"HTTP_IF_MATCH": ""})

    @blueprint.patch("/<product_id>")
    @auth.requires(WRITE)
    @in_turn
    @idempotency.idempotent
    def update_product(principal: Principal, product_id: str) -> ResponseReturnValue:
        sent = ProductPatch.model_validate_json(json_body())
        version = expected_version(catalog, principal.workspace_id, product_id)
        product = products.change(
            principal.workspace_id,
            product_id,
            sent.changes(),
            image_urls=sent.urls(),
            expected_version=version,
        )
        return answer(product)

    @blueprint.post("/<product_id>/archive")
    @auth.requires(WRITE)
    @in_turn
    @idempotency.idempotent
    def archive_product(principal: Principal, product_id: str) -> ResponseReturnValue:
        version = expected_version(catalog, principal.workspace_id, product_id)
        archived: ProductChanges = {"status": ARCHIVED}
        return answer(products.change(principal.workspace_id, product_id, archived, expected_version=version))

    @blueprint.delete("/<product_id>")
    @auth.requires(WRITE)
    @in_turn
    @idempotency.idempotent
    def delete_product(principal: Principal, product_id: str) -> ResponseReturnValue:
        version = expected_version(catalog, principal.workspace_id, product_id)
        deleted = products.delete(principal.workspace_id, product_id, expected_version=version)
        note(outcome="deleted")
        return jsonify(deleted_json(deleted))

    return blueprint
