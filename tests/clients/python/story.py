"""The common script, with the stock Python client: `story.py '<json>'`, as in ../js/story.mjs."""

import json
import sys
import threading
import time

import socketio

STORY = json.loads(sys.argv[1])
SESSION = STORY["session"]
TRANSPORTS = STORY.get("transports")


class Person:
    def __init__(self, url, token):
        self.url, self.token = url, token
        self.seen = {}
        self.changed = threading.Condition()
        self.client = socketio.Client(reconnection_delay=0.05, reconnection_delay_max=0.2)
        self.client.on("message:new", lambda data: self.see(data["message"]))
        self.client.on("disconnect", lambda *_: self.away.set())
        self.away = threading.Event()

    def connect(self):
        self.client.connect(self.url, auth={"token": self.token}, transports=TRANSPORTS, wait_timeout=20)
        self.join()

    def join(self):
        after = max(self.seen, default=0)
        joined = self.client.call("session:join", {"sessionId": SESSION, "after": after}, timeout=20)
        assert joined["ok"], joined
        for message in joined["messages"]:
            self.see(message)

    def see(self, message):
        with self.changed:
            assert message["seq"] not in self.seen, f"seq {message['seq']} came twice"
            self.seen[message["seq"]] = message
            self.changed.notify_all()

    def send(self, client_id, body):
        data = {"sessionId": SESSION, "clientId": client_id, "kind": "text", "body": body}
        sent = self.client.call("message:send", data, timeout=20)
        assert sent["ok"], sent
        self.see(sent["message"])
        return sent["message"]

    def has(self, count):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.seen) >= count, timeout=20), "never"


stranger = socketio.Client(reconnection=False)
refusals = []
stranger.on("connect_error", refusals.append)
try:
    stranger.connect(STORY["urls"][0], auth={"token": "a.b.c"}, transports=TRANSPORTS, wait_timeout=20)
    raise AssertionError("a bad token came in")
except socketio.exceptions.ConnectionError:
    assert refusals[0]["message"] == "token_invalid", refusals

ada, dana = Person(STORY["urls"][0], STORY["patient"]), Person(STORY["urls"][1], STORY["dentist"])
ada.connect()
dana.connect()
sent = ada.send("first", "Does it hurt? <b>é😀</b>")
dana.has(1)
assert dana.seen[1] == sent
answer = ada.client.call("message:send", {"sessionId": SESSION, "body": b"\x01\x02"}, timeout=20)
assert answer["error"]["code"] == "invalid_request", answer
for number in range(20):
    ada.send(f"a{number}", "x")
    dana.send(f"d{number}", "y")
ada.has(41)
dana.has(41)

print("restart")
assert ada.away.wait(20) and dana.away.wait(20)
sys.stdin.readline()
for person in (ada, dana):
    deadline = time.monotonic() + 30
    while True:
        try:
            person.join()
            break
        except (socketio.exceptions.SocketIOError, AssertionError):
            assert time.monotonic() < deadline, "never back"
            time.sleep(0.1)
late = dana.send("late", "after the restart")
ada.has(42)
assert ada.seen[late["seq"]] == late
ada.client.disconnect()
dana.client.disconnect()
print("done")
