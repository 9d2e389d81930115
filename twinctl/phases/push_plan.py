"""What pushes will send, found out before anything is sent: each result exported, checked and compared with the Hub.

What must stay true: whatever could stop a push is asked before an export, which takes long; nothing is sent here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twinctl.config.push import PushRecipe
from twinctl.config.secrets import refuse_secret
from twinctl.errors import HubError, UsageError
from twinctl.phases.export import exported_results, results_to_push
from twinctl.phases.push import opened_request
from twinctl.pipeline.execute import Executor
from twinctl.pipeline.lineage import Result
from twinctl.pipeline.run_view import RunView
from twinctl.publishing.upload_plan import UploadPlan, pack, require_fit

if TYPE_CHECKING:
    from twinctl.hub.remote import RemoteRepo


def require_sendable(repo: str, revision: str | None, message: str, *, pull_request: bool) -> None:
    """Raise UsageError for a name, a branch or a message that cannot go to the Hub."""
    from twinctl.hub.names import require_new_name

    require_new_name(repo)
    for what, value in (("the repository's name", repo), ("the branch", revision), ("the message", message)):
        refuse_secret(what, value)
    if pull_request and revision:
        raise UsageError("--pr and --revision do not go together", "a pull request is opened against main")


@dataclass(frozen=True)
class UploadPlanner:
    """How a run's results are made ready to be sent. `public`: as a new repository would be made."""

    view: RunView
    executor: Executor
    public: bool = False
    unverified: bool = False
    wait: bool = False

    def pack(self, recipe: PushRecipe, before_export: Callable[[], object] = lambda: None) -> UploadPlan:
        """All that a push sends; what is not exported yet is. Raises TwinctlError for what must not be sent, or cannot.

        `before_export`: raises where the push would be refused in the end.
        """
        from twinctl.hub.remote import check_push

        if exported_results(self.view, recipe.kind)[1]:
            before_export()
            self.executor.say(f"push: looking at {recipe.repo}")
            check_push(recipe.repo, recipe.revision, public=self.public)
        results = results_to_push(self.view, recipe.kind, self.executor, wait=self.wait)
        warnings = require_fit(self.view, results, unverified=self.unverified)
        self.executor.say(f"push: looking at {recipe.repo}")
        return self._asked(recipe, results, [], warnings)

    def preview(self, recipe: PushRecipe) -> UploadPlan:
        """What `pack` would give, without exporting anything; a Hub that cannot be asked is a warning."""
        from twinctl.hub.remote import unreachable_reason

        results, missing = exported_results(self.view, recipe.kind)
        warnings = require_fit(self.view, results, unverified=self.unverified)
        self.executor.say(f"push: looking at {recipe.repo}")
        reason = unreachable_reason()
        if reason is None:
            try:
                return self._asked(recipe, results, missing, warnings)
            except HubError as error:
                if not error.may_pass:
                    raise
                reason = error.message
        return self._packed(recipe, results, missing, [*warnings, f"the Hub was not asked: {reason}"], None)

    def _asked(
        self, recipe: PushRecipe, results: Sequence[Result], missing: Sequence[str], warnings: Sequence[str]
    ) -> UploadPlan:
        """The upload for the repository as it is now, or as a pull request that is open there would make it."""
        from twinctl.hub.remote import check_push, read_remote

        remote = check_push(recipe.repo, recipe.revision, public=self.public)
        if request := opened_request(self.view, recipe):
            upload = self._packed(recipe, results, missing, warnings, read_remote(recipe.repo, request))
            if upload.is_there:
                return upload
        return self._packed(recipe, results, missing, warnings, remote)

    def _packed(
        self,
        recipe: PushRecipe,
        results: Sequence[Result],
        missing: Sequence[str],
        warnings: Sequence[str],
        remote: RemoteRepo | None,
    ) -> UploadPlan:
        if missing:
            return UploadPlan.to_come(recipe.kind, recipe.repo, remote, missing, warnings)
        merged = recipe.repo[: -len("-GGUF")] if recipe.kind == "gguf" else None
        merged_repo = merged if f"push-{merged}" in self.view.run.slots else None
        return pack(self.view, recipe.kind, recipe.repo, results, remote, merged_repo=merged_repo, warnings=warnings)
