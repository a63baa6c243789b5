"""The HTTP interface: thin blueprints that call the uploads, the products and the catalog."""
