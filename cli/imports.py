"""``flask --app wsgi import``: products and pictures from elsewhere. Its commands share this module."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import click
from tqdm import tqdm

from catalog.base import Catalog
from catalog.errors import WorkspaceNotFound
from errors import Unavailable
from moving.files import printable
from moving.intake import Services
from moving.items import OF_PICTURES, Action, Item, Step, Stopped
from moving.run import Run

#: How many products are imported at once.
PARALLEL: Final = 4

#: The exit status of a program that Ctrl-C ends, as shells have it.
_INTERRUPTED: Final = 130

_WORDS: Final = {
    Action.MADE: "made",
    Action.CHANGED: "changed",
    Action.HERE: "here already",
    Action.ADDED: "added",
    Action.PRESENT: "here already",
    Action.DESCRIBED: "text changed",
    Action.LINKED: "external URL",
    Action.DOWNLOAD: "to be downloaded",
    Action.REFUSED: "refused",
    Action.LEFT_OUT: "left out",
}

workspace_option: Final[Callable[[Any], Any]] = click.option(
    "--workspace", "workspace_id", required=True, metavar="ID", help="The workspace that gets the products."
)
dry_run_option: Final[Callable[[Any], Any]] = click.option(
    "--dry-run", is_flag=True, help="Print what would happen, and write nothing."
)


def _line(step: Step) -> str:
    """A problem as one line."""
    return printable(f"{step.name or step.model}: {_WORDS[step.action]}: {step.reason}")


def _fields(step: Step) -> dict[str, str | None]:
    """A step as a JSON object."""
    return {
        "model": step.model,
        "picture": step.name,
        "action": _json_name(step.action),
        "reason": step.reason or None,
    }


def _json_name(action: Action) -> str:
    first, *rest = action.value.split()
    return first + "".join(word.capitalize() for word in rest)


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be imported.

    Attributes:
        items: the products.
        pictures: how many pictures they have, for the bar.
        problems: what is known beforehand not to be importable.
    """

    items: Iterable[Item]
    pictures: int
    problems: Sequence[Step] = ()


class Session:
    """One run of an import command: its progress, its report and its exit status.

    Args:
        services: the parts of the application.
        workspace_id: the workspace into which the items are imported.
        dry_run: whether the steps are printed as a table and nothing is written.
        as_json: whether one JSON object is printed instead of the table and the summary.

    Raises:
        ClickException: the workspace does not exist.
    """

    def __init__(
        self, services: Services, workspace_id: str, *, dry_run: bool, as_json: bool = False
    ) -> None:
        self._catalog: Catalog = services.catalog
        self._dry_run = dry_run
        self._as_json = as_json
        self._steps: list[Step] = []
        self._order: dict[str, int] = {}
        self._bar: tqdm[Any] | None = None
        self._failed = False
        try:
            self.run = Run(services, workspace_id, dry_run=dry_run, on_step=self._show, parallel=PARALLEL)
        except WorkspaceNotFound:
            raise click.ClickException(f"The workspace {workspace_id} does not exist.") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._catalog.close()

    def bring(self, find_work: Callable[[], Work]) -> None:
        """Imports items, prints the summary, and ends the program if something was not imported.

        Args:
            find_work: finds out what is to be imported; may raise Stopped.
        """
        status = 0
        stopped = ""
        try:
            self._bring(find_work())
        except (Stopped, Unavailable) as error:
            stopped = str(error).rstrip(".")
            status = self._stop(f"Stopped: {stopped}. Run it again to continue.", 1)
        except KeyboardInterrupt:
            stopped = "interrupted"
            status = self._stop("Interrupted. Run it again to continue.", _INTERRUPTED)
        self._print(stopped)
        if status := status or int(bool(self.run.counts[Action.REFUSED])):
            raise SystemExit(status)

    def _bring(self, work: Work) -> None:
        with tqdm(
            total=work.pictures, unit=" pictures", disable=None, file=sys.stderr, dynamic_ncols=True
        ) as self._bar:
            for problem in work.problems:
                self.run.note(problem)
            self.run.bring(self._in_order(work.items))

    def _stop(self, sentence: str, status: int) -> int:
        tqdm.write(printable(sentence), file=sys.stderr)
        return status

    def _print(self, stopped: str) -> None:
        """Prints what has happened, or would happen."""
        if self._as_json:
            counts = {_json_name(action): self.run.counts[action] for action in Action}
            steps = [_fields(step) for step in self._sorted_steps()]
            report = {"steps": steps, "counts": counts, "dryRun": self._dry_run, "stopped": stopped or None}
            text = json.dumps(report, indent=2, ensure_ascii=False)
            click.echo(text.encode(errors="replace"))  # a model may have half of a surrogate pair
            return
        if self._dry_run:
            self._print_table()
        click.echo(self._summary())

    def _show(self, step: Step) -> None:
        if self._dry_run or (self._as_json and step.reason):
            self._steps.append(step)
        if step.reason and not self._dry_run:
            tqdm.write(_line(step), file=sys.stderr)
        if self._bar is not None and step.action in OF_PICTURES and step.model and step.name:
            self._bar.update()

    def _in_order(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items, whose order the table keeps."""
        for number, item in enumerate(items):
            self._order.setdefault(item.model, number)
            yield item

    def _sorted_steps(self) -> list[Step]:
        return sorted(self._steps, key=lambda step: self._order.get(step.model, -1))

    def _print_table(self) -> None:
        steps = self._sorted_steps()
        rows = [("PRODUCT", "PICTURE", "WHAT WOULD HAPPEN")]
        for step in steps:
            what = _WORDS[step.action]
            what = f"{what}: {step.reason}" if step.reason else what
            rows.append((printable(step.model or "-"), printable(step.name), printable(what)))
        widths = [min(40, max(len(row[column]) for row in rows)) for column in (0, 1)]
        for product, picture, what in rows:
            click.echo(f"{product:<{widths[0]}}  {picture:<{widths[1]}}  {what}")

    def _summary(self) -> str:
        counts = self.run.counts
        products = (
            f"{counts[Action.MADE]} made, {counts[Action.CHANGED]} changed, {counts[Action.HERE]} unchanged"
        )
        pictures = f"{counts[Action.ADDED]} added, {counts[Action.PRESENT]} here already"
        for action in (Action.DESCRIBED, Action.DOWNLOAD, Action.LINKED):
            if counts[action]:
                pictures += f", {counts[action]} {_WORDS[action]}"
        others = (Action.REFUSED, Action.LEFT_OUT)
        not_here = ", ".join(f"{counts[action]} {_WORDS[action]}" for action in others if counts[action])
        sentences = [f"Products: {products}", f"Pictures: {pictures}", not_here]
        if self._dry_run:
            sentences.append("Nothing was written")
        return " ".join(f"{sentence}." for sentence in sentences if sentence)


def import_commands(*commands: click.Command, at_end: Callable[[], object]) -> click.Group:
    """The group of the import commands. ``at_end`` is called when one has ended, however it did."""

    @click.group("import")
    def group() -> None:
        """Bring products and pictures in."""
        click.get_current_context().call_on_close(at_end)

    for command in commands:
        group.add_command(command)
    return group
