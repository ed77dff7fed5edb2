"""Facts that a schema cannot express: the ids that exist, and the rights of each kind of user.

Most requests that are valid by the document get the ids of existing sessions, messages and pictures.
Requests that are meant to be invalid stay unchanged.
"""

import itertools
import json
import os
from datetime import UTC, datetime, timedelta

import schemathesis
from schemathesis.core.parameters import ParameterLocation

WORLD = json.loads(os.environ["WORLD"])
MESSAGES = itertools.cycle(WORLD["messages"])
OWN = iter(WORLD["own"])
COUNT = itertools.count()
IN_AN_HOUR = (datetime.now(UTC) + timedelta(hours=1)).isoformat()


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.meta is None:
        return
    if not case.meta.is_negative_at(ParameterLocation.PATH):
        name(case)
    if not case.meta.is_negative_at(ParameterLocation.QUERY):
        ask(case)
    if not case.meta.is_negative_at(ParameterLocation.BODY):
        write(case)


def name(case):
    """Sets ids in the path; every eighth request keeps its random ids, which do not exist."""
    path, strange = case.path_parameters, next(COUNT) % 8 == 0
    if not path:
        return
    if "emoji" in path:
        path["emoji"] = next(EMOJI)
    if "/platform/" in case.path:
        # Never main: a suspended tenant's tokens are refused.
        path["id"] = WORLD["tenant"]
        return
    if strange:
        return
    if "kind" in path:
        path["kind"], path["id"] = "customer", "someone-else"
    elif "id" in path:
        # The session for PATCH is another one, because it may be closed while messages
        # are sent.
        path["id"] = WORLD["spare" if case.method == "PATCH" and "message" not in path else "session"]
    if "message" in path:
        # A deleted message cannot be changed again.
        path["message"] = next(OWN, path["message"]) if case.method == "DELETE" else next(MESSAGES)
    if "image" in path:
        path["image"] = WORLD["image"]
    if "file" in path:
        path["file"] = "swagger-ui.css"


EMOJI = itertools.cycle(["👍", "❤️", "🦷", "🏳️‍🌈"])


def ask(case):
    """Removes random cursors, which are opaque, and `after` beside `before`."""
    if not case.query:
        return
    case.query.pop("cursor", None)
    if "before" in case.query:
        case.query.pop("after", None)


def write(case):
    """Names the other side of a session by its kind; replies to an existing message; sends no picture."""
    body = case.body
    if not isinstance(body, dict):
        return
    if case.path == "/api/chats":
        mine, other = ("dentistId", "customerId")
        if WORLD["kind"] == "dentist":
            mine, other = other, mine
        if body.get(mine) is None:
            body[mine] = body.pop(other)
    if case.path == "/api/chats/{id}":
        # Only a session of one's own can be assigned, and only a snoozed one wakes.
        if body.get("assigneeId") is not None:
            body["assigneeId"] = WORLD["me"]
        if body.get("snoozedUntil") is not None:
            body.update(status="snoozed", snoozedUntil=IN_AN_HOUR)
    if "clientId" in body and body.get("replyTo") is not None:
        if case.path_parameters["id"] == WORLD["session"]:
            body["replyTo"] = WORLD["messages"][0]
        else:
            del body["replyTo"]
    if body.get("kind") == "image":
        body.update(kind="text", body=body.get("body") or "a picture")
        body.pop("imageKey", None)
