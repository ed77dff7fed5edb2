"""The stock client by polling, with many packets in each poll and POST: `flush.py '<json>'` with {url,
token, session}; the session has 150 messages."""

import json
import sys
import threading

import socketio

STORY = json.loads(sys.argv[1])
SESSION = STORY["session"]
HELD, FLUSHED = 150, 180

client = socketio.Client(reconnection_delay=0.05, reconnection_delay_max=0.2)
changed = threading.Condition()
seen, acknowledged, away = set(), [], []


def note(kept, value):
    with changed:
        kept(value)
        changed.notify_all()


def wait(what, is_there):
    with changed:
        assert changed.wait_for(is_there, timeout=60), f"never: {what}"


client.on("disconnect", lambda *_: away.append(True))
client.on("message:new", lambda data: note(seen.add, data["message"]["seq"]))
client.connect(STORY["url"], auth={"token": STORY["token"]}, transports=["polling"], wait_timeout=20)
joined = client.call("session:join", {"sessionId": SESSION, "after": 0}, timeout=20)
for message in joined["messages"]:
    note(seen.add, message["seq"])
wait("the history", lambda: len(seen) == HELD)

# 900 KB, as an app sends after it was offline: all waiting packets go in one POST.
for number in range(FLUSHED):
    data = {"sessionId": SESSION, "clientId": f"f{number}", "kind": "text", "body": "x" * 5_000}
    client.emit("message:send", data, callback=lambda answer: note(acknowledged.append, answer))
wait("the acknowledgements", lambda: len(acknowledged) == FLUSHED)
assert all(answer["ok"] for answer in acknowledged), acknowledged
assert not away, "it had to come back"
client.disconnect()
print("done")
