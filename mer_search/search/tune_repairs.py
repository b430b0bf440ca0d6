"""What Ray Tune 2.60 lacks for long searches and for workers killed for lack of memory.

All that touches names which Ray does not publish stands here. `tests/search/test_worker_memory.py`
and `test_tune_repairs.py` fail where a newer Ray has other names.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.tune.progress_reporter import TrialProgressCallback


class Silence(TrialProgressCallback):
    """In place of the printer that Tune adds: it remembers every trial it could have shown."""

    def on_trial_result(self, *args: Any, **info: Any) -> None:
        """Nothing: the search has a screen of its own."""

    on_trial_error = on_trial_complete = on_trial_result


def forget(controller: Any) -> None:
    """Takes what is over out of Tune's lists. The ledger has what is worth keeping.

    Tune keeps every trial until the end and walks through all of them at times, and keeps the tasks
    of actors that it never had to start: a search of ten thousand would grow and slow down.
    """
    over = controller._stopped_trials | controller._failed_trials
    for trial in over:
        controller._trials.remove(trial)
    lists = (controller._stopped_trials, controller._failed_trials, controller._trials_to_cache)
    for known in lists:
        known.difference_update(over)
    actors = controller._actor_manager
    tasks = actors._pending_actors_to_enqueued_actor_tasks
    needed = {*actors._pending_actors_to_attrs, *actors._live_actors_to_ray_actors_resources}
    for actor in tasks.keys() - needed:
        del tasks[actor]


def survive(controller: Any) -> None:
    """Lets a worker that Ray killed for lack of memory count as lost, as one that died does.

    Ray tells it as an error that Tune does not expect, which would end the search.
    """
    actors = controller._actor_manager
    if not isinstance(actors._actor_task_failed, partial):
        actors._actor_task_failed = partial(_failed, actors._actor_task_failed)


def _failed(known: Any, *, exception: Exception, **task: Any) -> None:
    """`known` with an error that it handles."""
    if isinstance(exception, RayError) and not isinstance(exception, RayActorError | RayTaskError):
        exception = RayActorError(error_msg=str(exception))
    known(exception=exception, **task)
