"""A trial's model as lm-eval sees it: nothing is loaded again, and batches are ours.

So the scores do not depend on a batch size, methods that need further arguments of the model's forward work, and answers
are generated with a cache from which finished rows leave. Long inputs lose their beginning, as in lm-eval.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import normalize_gen_kwargs, postprocess_generated_text
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from orchestrator.training.data.chat_template import puts_bos_first
from orchestrator.training.data.conversations import Message
from orchestrator.training.data.token_rows import TokenRow
from orchestrator.training.evaluations.contract.evaluation import Subject, as_data

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

DEFAULT_NEW_TOKENS = 256
"""What lm-eval generates where a task does not say."""


class SubjectModel(TemplateLM):  # type: ignore[misc]
    """The model of a `Subject` behind lm-eval's interface.

    Args:
        subject: The model, in evaluation mode.
    """

    def __init__(self, subject: Subject) -> None:
        super().__init__()
        self._subject = subject
        self.tokenizer = subject.tokens.tokenizer
        self._bos = self.tokenizer.bos_token if puts_bos_first(self.tokenizer) else None

    @property
    def eot_token_id(self) -> int:
        """Token that ends a text."""
        assert self.tokenizer.eos_token_id is not None, "a tokenizer without it is refused with its template"
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """Token that stands before a text without context."""
        start = self.tokenizer.bos_token_id
        return int(start) if start is not None else self.eot_token_id

    @property
    def max_length(self) -> int:
        """Longest sequence in tokens."""
        return self._subject.tokens.length_limit or 2048

    @property
    def tokenizer_name(self) -> str:
        """Name of the tokenizer, a part of lm-eval's own cache keys (which are not used)."""
        return str(self.tokenizer.name_or_path)

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """Return the template that the trial was trained with."""
        template = self._subject.tokens.template
        return template.text if chat_template and template is not None else None

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Render turns with the template that the trial was trained with."""
        template = self._subject.tokens.template
        assert template is not None, "sessions always know their template"
        turns = tuple(Message(turn["role"], turn["content"]) for turn in chat_history)
        if add_generation_prompt:
            return template.prompt(self.tokenizer, turns)
        # The last turn is begun for the model (lm-eval's gen_prefix).
        return template.prompt(self.tokenizer, turns[:-1]) + turns[-1].content

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: object) -> list[int]:
        """Return the tokens of a text; the start token is put once where the tokenizer puts it."""
        special = add_special_tokens
        if special is None:
            special = not (self._bos and string.startswith(self._bos))
        ids: list[int] = self.tokenizer(string, add_special_tokens=special, verbose=False)["input_ids"]
        return ids

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[object, list[int], list[int]]], **kwargs: object
    ) -> list[tuple[float, bool]]:
        rows = []
        for _, context, continuation in requests:
            ids = np.asarray([*context, *continuation], dtype=np.int32)
            answers = min(len(continuation), self.max_length - 1)
            kept = ids[-self.max_length :]
            rows.append(TokenRow(kept, np.arange(len(kept)) >= len(kept) - answers))
        losses, _, greedy = self._subject.row_scores(as_data(rows))
        return [(-float(loss), bool(best)) for loss, best in zip(losses, greedy, strict=True)]

    def loglikelihood_rolling(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[float]:
        """Return the log-likelihood of whole texts, in windows that do not overlap."""
        windows: list[tuple[int, list[int], list[int]]] = []
        for place, request in enumerate(requests):
            parts = get_rolling_token_windows(
                self.tok_encode(request.args[0], add_special_tokens=False),
                prefix_token=self.prefix_token_id,
                # One shorter than the model takes: a window is a token longer than what is fed to it.
                max_seq_len=self.max_length - 1,
                context_len=1,
            )
            windows += [(place, *make_disjoint_window(part)) for part in parts]
        found = self._loglikelihood_tokens([("", before, after) for _, before, after in windows])
        totals = [0.0] * len(requests)
        for (place, _, _), (score, _) in zip(windows, found, strict=True):
            totals[place] += score
        return totals

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:
        """Return greedy answers, cut at a task's stop texts."""
        answers = [""] * len(requests)
        groups: dict[tuple[int, tuple[str, ...]], list[int]] = {}
        for place, request in enumerate(requests):
            asked = normalize_gen_kwargs(dict(request.args[1]), DEFAULT_NEW_TOKENS)
            stops = asked.get("until") or []
            stops = [stops] if isinstance(stops, str) else stops
            groups.setdefault((int(asked["max_gen_toks"]), tuple(stops)), []).append(place)
        for (new_tokens, stops_of_group), places in groups.items():
            room = max(1, min(new_tokens, self.max_length // 2))
            prompts = [
                np.asarray(self.tok_encode(requests[place].args[0])[-(self.max_length - room) :], dtype=np.int32)
                for place in places
            ]
            made = self._subject.answers(prompts, room, [stop for stop in stops_of_group if stop])
            for place, ids in zip(places, made, strict=True):
                answers[place] = postprocess_generated_text(self._subject.text(ids), list(stops_of_group), None)
        return answers
