"""Requests to a judge behind an OpenAI-compatible endpoint: several at once, repeated where that may help, never too long."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from orchestrator.errors import DataError
from orchestrator.settings.trial_setup import JudgeSettings

Messages = list[dict[str, str]]
PASSING = (408, 409, 425, 429, 500, 502, 503, 504)
"""Status codes after which the same request may succeed."""
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
CONNECT_SECONDS = 10.0
CHECK_SECONDS = 60.0
LONGEST_VERDICT_TOKENS = 1024


class JudgeClient:
    """Asks a judge.

    Args:
        settings: Who judges, and how patiently.
    """

    def __init__(self, settings: JudgeSettings) -> None:
        self._settings = settings
        self._address = f"{settings.base_url.rstrip('/')}/chat/completions"

    def ask_all(self, questions: Sequence[Messages]) -> list[str | None]:
        """Return the judge's answer to each question, None where it failed for good or time was up."""
        deadline = time.monotonic() + 60 * self._settings.max_minutes
        with self._session(self._settings.retries) as session, ThreadPoolExecutor(self._settings.concurrency) as pool:
            return list(pool.map(lambda question: self._ask(session, question, deadline), questions))

    def check(self, name: str) -> None:
        """Ask one short question.

        Args:
            name: Name of the set, for messages.

        Raises:
            DataError: If the judge does not answer; the key is not shown.
        """
        where, variable = f"evaluation.{name}", self._settings.api_key_env
        if variable and not os.environ.get(variable):
            raise DataError(
                where,
                "judge.api_key_env",
                variable,
                "this environment variable is not set",
                "export it, on every machine that scores",
            )
        limit = min(CHECK_SECONDS, self._settings.timeout_seconds)
        try:
            with self._session(0) as session:
                response = self._post(session, [{"role": "user", "content": "Reply with OK."}], limit)
        except requests.RequestException as error:
            raise DataError(
                where,
                "judge.base_url",
                self._settings.base_url,
                f"the judge does not answer ({_cause(error)})",
                "start it, or correct the address; nothing has been trained",
            ) from error
        if response.status_code != 200:
            raise DataError(
                where,
                "judge",
                self._settings.model,
                f"the judge at {self._address} refuses: status {response.status_code}, {self._told(response)}",
                "check the model's name and the key",
            )
        if _content(response) is None:
            raise DataError(
                where,
                "judge.base_url",
                self._settings.base_url,
                "answers, but not as an OpenAI-compatible endpoint does",
                "the address ends in /v1 mostly",
            )

    def _ask(self, session: requests.Session, question: Messages, deadline: float) -> str | None:
        left = deadline - time.monotonic()
        if left <= 0:
            return None
        try:
            response = self._post(session, question, min(self._settings.timeout_seconds, left))
        except requests.RequestException:
            return None
        return _content(response) if response.status_code == 200 else None

    def _post(self, session: requests.Session, question: Messages, seconds: float) -> requests.Response:
        body = {
            "model": self._settings.model,
            "messages": question,
            "temperature": 0,
            "max_tokens": LONGEST_VERDICT_TOKENS,
        }
        timeout = (min(CONNECT_SECONDS, seconds), seconds)
        # A redirect could carry the key somewhere else.
        return session.post(self._address, json=body, auth=self._sign, timeout=timeout, allow_redirects=False)

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Put the key into a request; also where there is none, as requests would else take a login from a .netrc file."""
        key = os.environ.get(self._settings.api_key_env, "") if self._settings.api_key_env else ""
        if key:
            request.headers["Authorization"] = f"Bearer {key}"
        return request

    def _told(self, response: requests.Response) -> str:
        """Return what an error page says, without the key in case it repeats it."""
        text = " ".join(response.text.split())
        key = os.environ.get(self._settings.api_key_env, "") if self._settings.api_key_env else ""
        return (text.replace(key, "***") if key else text)[:200] or "without a word"

    def _session(self, retries: int) -> requests.Session:
        again = Retry(
            total=retries,
            backoff_factor=FIRST_PAUSE_SECONDS,
            backoff_max=LONGEST_PAUSE_SECONDS,
            backoff_jitter=FIRST_PAUSE_SECONDS / 2,
            status_forcelist=PASSING,
            allowed_methods=None,
            raise_on_status=False,
            retry_after_max=int(LONGEST_PAUSE_SECONDS),
        )
        session = requests.Session()
        adapter = HTTPAdapter(max_retries=again, pool_maxsize=self._settings.concurrency)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        return session


def _content(response: requests.Response) -> str | None:
    """Return the text of a completion, None where the body is no completion."""
    try:
        body = response.json()
        content = body["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError):
        return None
    return content if isinstance(content, str) else None


def _cause(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return "it takes too long"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return type(error).__name__
