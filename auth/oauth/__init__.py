"""OAuth 2.0: an app gets a scoped, revocable token on a user's behalf. CONTRACT "OAuth 2.0".

Authlib does the protocol; this package gives it Vetrina's rules, and keeps its secrets in the catalog.
"""

import logging

# At DEBUG, Authlib logs the tokens that it issues.
logging.getLogger("authlib").setLevel(logging.INFO)
