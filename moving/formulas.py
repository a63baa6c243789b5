"""Cells that a spreadsheet would take for formulas: OWASP, "CSV Injection".

Whoever may name a product could otherwise have a formula run by the person who opens an export. An apostrophe
before such a cell makes it text, as spreadsheets themselves write it.
"""

from __future__ import annotations

import re
from typing import Final

#: What begins a formula, as OWASP lists it; spreadsheets take the wide signs of East Asia too.
_START: Final = r"\s*[=+\-@＝＋－＠]"  # noqa: RUF001  # the wide signs
_FORMULA: Final = re.compile(f"'*{_START}")
_ESCAPED: Final = re.compile(f"'+{_START}")


def escaped(cell: str) -> str:
    """The cell as an export writes it: with an apostrophe if it could be a formula."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def unescaped(cell: str) -> str:
    """The cell as it was before ``escaped``."""
    return cell[1:] if _ESCAPED.match(cell) else cell
