"""The HTML pages: the console, and the consent page of OAuth."""
