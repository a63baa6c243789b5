"""Import and export: products and pictures move in and out over the same code as every upload."""
