"""Why trials of a launch failed, and when the next one would fail as well. Pure."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

HOPELESS = 3
"""So many failures without a single finished block end the search."""
IN_A_ROW = 12
"""So many failures without a finished block between them end it as well, whatever went before."""
TOLD = 3
"""Kinds of reasons in the message."""


@dataclass
class Troubles:
    """Reasons of failed trials, in order."""

    reasons: list[str] = field(default_factory=list)
    in_a_row: int = 0
    blocks_seen: bool = False

    def failed(self, reason: str) -> None:
        self.reasons.append(reason)
        self.in_a_row += 1

    def block(self) -> None:
        """A block was finished: there is hope, but for a search that is ending already."""
        if not self.hopeless:
            self.blocks_seen, self.in_a_row = True, 0

    @property
    def hopeless(self) -> bool:
        """The next trial would fail as well."""
        early = len(self.reasons) >= HOPELESS and not self.blocks_seen
        return early or self.in_a_row >= IN_A_ROW

    def told(self) -> str:
        """What went wrong, the commonest reason first; reasons that differ in numbers are one."""
        kinds = Counter(map(_kind, self.reasons))
        last = {_kind(reason): reason for reason in self.reasons}
        lines = [f"{count} times: {last[kind]}" for kind, count in kinds.most_common(TOLD)]
        if len(kinds) > TOLD:
            lines.append(f"and {len(kinds) - TOLD} other reasons; `mer-search status` lists them")
        failed = _trials(len(self.reasons))
        if not self.blocks_seen:
            opening = f"{failed} failed before the first block and none succeeded"
        elif self.hopeless:
            opening = f"{_trials(self.in_a_row)} failed one after another"
        else:
            opening = f"{failed} failed and none has all its folds"
        return f"{opening}, so the search ended\n" + "\n".join(f"  - {line}" for line in lines)


def _trials(count: int) -> str:
    return f"{count} trial{'' if count == 1 else 's'}"


def _kind(reason: str) -> str:
    return re.sub(r"\d+(\.\d+)?", "#", reason)
