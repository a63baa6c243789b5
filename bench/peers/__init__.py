"""The peers that Vetrina is measured beside: programs of their own, never imported."""
