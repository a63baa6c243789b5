"""The HTTP face: thin blueprints over the uploads and the catalog."""
