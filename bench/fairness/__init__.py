"""Measures how one tenant is served while another tenant, or an anonymous client, attacks the server.

The other tenant uploads, lists, reads a picture and asks for the server's health, one request of each kind at
a time, first alone and then during each attack. Most attacks come from eight addresses, so that the limit of
connections per address does not suffice to stop them. Attackers and server share the machine.

``attack`` has the parts of a description, ``measure`` the measurement; the other modules describe attacks.
"""
