"""People are told of what needs them: a drop that was refused, a session that is damaged, a run that failed.

    Alerts(store, catalog, settings).tell()

What is told is gathered from how things are (catalog, checks), not from what happened, so nothing that works on drops
knows of it or waits for it, and nothing is lost while nobody can be reached. Everything new goes out as one message:

    webhook   POST of {"source": "neuroloom", "text": ..., "alerts": [{"kind", "words", "at"}, ...], "link": ...}
    mail      the same as text, by SMTP

A way that fails is tried again after a pause that doubles, the other way is not repeated for it. What is told by whom
is one row in the catalog, taken by one `UPDATE`: of two machines that look, one tells. A machine that dies between
sending and noting it tells twice; a lost catalog tells anew what is still wrong.

Design rationale: no names. A drop is told by its number, since files are often called after people; reasons name
files, so they stay on the pages. Sessions and runs are told by their codes.
"""

from __future__ import annotations

import os
import secrets
import smtplib
import ssl
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.catalog.tables import QUARANTINED, RETRY, AlertRow
from neuroloom.pipeline.settings import AlertSettings
from neuroloom.pipeline.store import Store

WEBHOOK, MAIL = "webhook", "mail"
WEBHOOK_VARIABLE = "NEUROLOOM_WEBHOOK"
USER_VARIABLE, PASSWORD_VARIABLE = "NEUROLOOM_SMTP_USER", "NEUROLOOM_SMTP_PASSWORD"
NEWS_S = 7 * 86400.0  # what is older than that when alerts are turned on is no news
MOST_LINES = 20
LONGEST_PAUSE_S = 6 * 3600.0


class TellError(OSError):
    """A message could not be handed over; the message says to whom and why, without secrets."""


@dataclass(frozen=True)
class Alerts:
    """What one store tells. link: where the review pages are."""

    store: Store
    catalog: Catalog
    settings: AlertSettings
    link: str = ""

    @property
    def ways(self) -> tuple[str, ...]:
        """How people can be told; empty where nobody is."""
        return (WEBHOOK,) * bool(_webhook(self.settings)) + (MAIL,) * bool(self.settings.mail_to)

    def tell(self, now: float | None = None) -> int:
        """Gather what is new and send what is due; gives how many things were told."""
        at = time.time() if now is None else now
        self.gather(at)
        return sum(self._send(way, at) for way in self.ways)

    def gather(self, now: float) -> None:
        """Note everything that is to be told and was not noted yet."""
        for kind, key, words, at in self._news(now - NEWS_S):
            if kind in self.settings.on:
                self._note(kind, key, words, at)

    def note_failure(self, flow: str, run_id: str, now: float | None = None) -> None:
        """A run of the dashboard failed or crashed."""
        if "failed" in self.settings.on:
            words = f"a run of {flow} failed; the dashboard has its log (run {run_id})"
            self._note("failed", f"run {run_id}", words, time.time() if now is None else now)

    def _news(self, since: float) -> Iterator[tuple[str, str, str, float]]:
        for drop in self.catalog.drops.every(QUARANTINED):
            if drop.changed_at >= since:
                what = f"{drop.format or 'of no known format'}, {drop.n_bytes / 1e6:.1f} MB"
                words = f"drop {drop.id} ({what}) was refused; `neuroloom inbox` says why"
                yield "quarantine", f"drop {drop.id} {drop.changed_at:.3f}", words, drop.changed_at
        for (session, version), row in self.catalog.checks.every().items():
            if row.damage:
                places = ", ".join(dict.fromkeys(f"{d['file']} {d['dataset']}".strip() for d in row.damage[:5]))
                words = f"{session} {version} is damaged ({places}); `neuroloom verify {session}` says what to do"
                yield "damage", f"damage {session} {version} {places}", words, row.checked_at
        for run in self.catalog.runs.every():
            if run.state == RETRY and run.reason != "stopped: KeyboardInterrupt" and run.started_at >= since:
                words = f"run {run.name} stopped; the same command goes on where it was"
                yield "failed", f"training {run.name} {run.started_at:.3f}", words, run.started_at

    def _note(self, kind: str, key: str, words: str, at: float) -> None:
        for way in self.ways:
            with Session(self.catalog.engine) as session:
                if session.get(AlertRow, (key, way)) is not None:
                    continue
                session.add(AlertRow(key=key, way=way, kind=kind, words=words, at=at))
                try:
                    session.commit()
                except IntegrityError:  # another machine noted it just now
                    session.rollback()

    def _send(self, way: str, now: float) -> int:
        owner = secrets.token_hex(8)
        taken = self._take(way, owner, now)
        if not taken:
            return 0
        try:
            send = {WEBHOOK: post, MAIL: mail}[way]
            send(self.settings, [_told(row) for row in taken], self.store.root.name, self.link)
        except TellError as error:
            pause_s = min(self.settings.retry_s * 2 ** (max(row.tries for row in taken) - 1), LONGEST_PAUSE_S)
            self._change(way, owner, next_at=now + pause_s, problem=str(error)[:300])
            return 0
        self._change(way, owner, told_at=now, problem="")
        return len(taken)

    def _take(self, way: str, owner: str, now: float) -> list[AlertRow]:
        """What is due by this way, now `owner`'s until its attempt must have ended; counts a try."""
        hold_s = 2 * self.settings.timeout_s + 60
        due = (AlertRow.way == way, AlertRow.told_at == 0, AlertRow.next_at <= now)
        values = {"owner": owner, "next_at": now + hold_s, "tries": AlertRow.tries + 1}
        mine = select(AlertRow).where(AlertRow.owner == owner).order_by(AlertRow.at, AlertRow.key)
        with Session(self.catalog.engine, expire_on_commit=False) as session, session.begin():
            session.execute(update(AlertRow).where(*due, AlertRow.tries < self.settings.most_tries).values(**values))
            return list(session.scalars(mine))

    def _change(self, way: str, owner: str, **changes: Any) -> None:
        with Session(self.catalog.engine) as session, session.begin():
            session.execute(update(AlertRow).where(AlertRow.way == way, AlertRow.owner == owner).values(**changes))


def alerts_of(catalog: Catalog) -> list[AlertRow]:
    """Everything that was told or is to be told, oldest first."""
    with Session(catalog.engine, expire_on_commit=False) as session:
        return list(session.scalars(select(AlertRow).order_by(AlertRow.at, AlertRow.key, AlertRow.way)))


def post(settings: AlertSettings, told: Sequence[dict[str, str]], store: str, link: str) -> None:
    """POST to the webhook. Raises TellError; a redirect is not followed, since it would carry the message elsewhere."""
    import httpx

    body = {"source": "neuroloom", "store": store, "text": text_of(told), "alerts": list(told), "link": link}
    try:
        answer = httpx.post(_webhook(settings), json=body, timeout=settings.timeout_s, follow_redirects=False)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise TellError(f"the webhook did not take it ({type(error).__name__})") from error
    if not answer.is_success:
        raise TellError(f"the webhook answered {answer.status_code}")


def mail(settings: AlertSettings, told: Sequence[dict[str, str]], store: str, link: str) -> None:
    """Send by SMTP, with certificates checked where it is encrypted. Raises TellError."""
    message = EmailMessage()
    kinds = ", ".join(dict.fromkeys(each["kind"] for each in told))
    message["Subject"] = f"neuroloom {store}: {len(told)} to look at ({kinds})"
    message["From"], message["To"] = settings.mail_from, ", ".join(settings.mail_to)
    message.set_content(f"{text_of(told)}\n\n{link}\n".rstrip() + "\n")
    try:
        with _smtp(settings) as server:
            if settings.smtp_security == "starttls":
                server.starttls(context=ssl.create_default_context())
            if user := os.environ.get(USER_VARIABLE):
                server.login(user, os.environ.get(PASSWORD_VARIABLE, ""))
            server.send_message(message)
    except (smtplib.SMTPException, OSError) as error:
        raise TellError(f"{settings.smtp_host} did not take the mail ({type(error).__name__})") from error


def text_of(told: Sequence[dict[str, str]]) -> str:
    """A line each, and how many more there are."""
    lines = [f"- {each['words']}" for each in told[:MOST_LINES]]
    return "\n".join(lines + [f"- and {len(told) - MOST_LINES} more"] * (len(told) > MOST_LINES))


def _smtp(settings: AlertSettings) -> smtplib.SMTP:
    host, port, timeout_s = settings.smtp_host, settings.smtp_port, settings.timeout_s
    if settings.smtp_security == "tls":
        return smtplib.SMTP_SSL(host, port, timeout=timeout_s, context=ssl.create_default_context())
    return smtplib.SMTP(host, port, timeout=timeout_s)


def _webhook(settings: AlertSettings) -> str:
    return os.environ.get(WEBHOOK_VARIABLE) or settings.webhook


def _told(row: AlertRow) -> dict[str, str]:
    return {"kind": row.kind, "words": row.words, "at": datetime.fromtimestamp(row.at, UTC).isoformat()}
