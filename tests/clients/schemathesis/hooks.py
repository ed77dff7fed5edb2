"""What a schema can't say: which ids there are, and who may say what.

Requests that are valid by the document are given sessions, messages and pictures that there are, most of
the time; those that are meant to be wrong stay as they are.
"""

import itertools
import json
import os

import schemathesis
from schemathesis.core.parameters import ParameterLocation

WORLD = json.loads(os.environ["WORLD"])
MESSAGES = itertools.cycle(WORLD["messages"])
OWN = iter(WORLD["own"])
COUNT = itertools.count()


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
    """Every eighth request is about what isn't there, or isn't the caller's."""
    path, strange = case.path_parameters, next(COUNT) % 8 == 0
    if not path:
        return
    if "emoji" in path:
        path["emoji"] = next(EMOJI)
    if strange:
        return
    if "kind" in path:
        path["kind"], path["id"] = "customer", "someone-else"
    elif "id" in path:
        # What may be closed is not what is spoken in.
        path["id"] = WORLD["spare" if case.method == "PATCH" and "message" not in path else "session"]
    if "message" in path:
        # What is taken back can't be changed again.
        path["message"] = next(OWN, path["message"]) if case.method == "DELETE" else next(MESSAGES)
    if "image" in path:
        path["image"] = WORLD["image"]
    if "file" in path:
        path["file"] = "swagger-ui.css"


EMOJI = itertools.cycle(["👍", "❤️", "🦷", "🏳️‍🌈"])


def ask(case):
    """A cursor is opaque, and a place has one name."""
    if not case.query:
        return
    case.query.pop("cursor", None)
    if "before" in case.query:
        case.query.pop("after", None)


def write(case):
    """A customer writes to a dentist, and the other way round; a picture was uploaded before."""
    body = case.body
    if not isinstance(body, dict):
        return
    if case.path == "/api/chats":
        mine, other = ("dentistId", "customerId")
        if WORLD["kind"] == "dentist":
            mine, other = other, mine
        if body.get(mine) is None:
            body[mine] = body.pop(other)
    if "clientId" in body and body.get("replyTo") is not None:
        if case.path_parameters["id"] == WORLD["session"]:
            body["replyTo"] = WORLD["messages"][0]
        else:
            del body["replyTo"]
    if body.get("kind") == "image":
        body.update(kind="text", body=body.get("body") or "a picture")
        body.pop("imageKey", None)
