"""OAuth 2.0: an app obtains a scoped, revocable token on behalf of a user. docs/contract.md "OAuth 2.0".

Authlib implements the protocol. This package adds Vetrina's rules and stores grants and digests of the
secrets in the catalog.
"""

import logging

# At level DEBUG, Authlib logs the tokens that it issues.
logging.getLogger("authlib").setLevel(logging.INFO)
