"""`compare --faces`: the onset frames of a search's example clips, read from its data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mer_search.errors import InputError

if TYPE_CHECKING:
    from mer_search.loso.ledger import Ledger
    from mer_search.report.account import Search
    from mer_search.report.faces import Face


def faces_of(ledger: Ledger, found: Search) -> list[Face]:
    """A face of each class for the best trial; none where no trial has all folds.

    Raises:
        InputError: the best trial attends to no regions, the backbone sees no faces, or the data
            set does not hold the clips any more.
    """
    from mer_search.datasets import read
    from mer_search.export.chosen import read_chosen
    from mer_search.features.cache import Cache
    from mer_search.features.placing import onset_face
    from mer_search.report.faces import Face, examples

    if found.best is None:
        return []
    chosen = read_chosen(ledger, found.best.record.number)
    features, data = chosen.trial.features, chosen.experiment.data
    if features.backbone.name == "patches":
        raise InputError("--faces", "the backbone patches sees maps, not faces; leave --faces away")
    picked = examples(found.best)
    dataset = read(data.reader, data.root, classes=data.classes, on_fault="skip")
    clips = {clip.key: clip for clip in dataset.clips}
    if missing := [each.key for each in picked if each.key not in clips]:
        raise InputError(
            data.root,
            f"does not hold {', '.join(missing)}; --faces needs the data set of the search",
        )
    cache = Cache.default()
    return [Face(each, onset_face(clips[each.key], features, cache=cache)) for each in picked]
