# SPDX-License-Identifier: Apache-2.0
"""A device that goes on through anything: it loses its connection, comes back with its position and subscriptions, asks again for
what it did not get. Nothing here waits, save for the answers of a login: ``pump()`` takes what is there.
"""

import uuid

from websockets.exceptions import InvalidHandshake

from .satellite import Batch, Closed, DataError, GoneBatch, Refused, RpcError, Satellite, message
from .token import unsigned

# What sends a client away to come back. Anything else would stop the published one, or cost it its data.
PASSING = ("REPLICATION_FAILED",)
# What makes the published one empty its tables and subscribe again.
RESETTING = ("BEHIND_WINDOW", "INVALID_POSITION", "SUBSCRIPTION_NOT_FOUND")


class Device:
    """One client. ``shapes``: what it has asked for and not given up: id → list of Select. ``events`` takes a line for what happens.
    One that ``may_reset`` begins anew when it is told to; ``resets`` are the codes."""

    def __init__(self, port, name, user, events, always=(), may_reset=False):
        self.name, self.user, self.events = name, user, events
        self.may_reset, self.resets = may_reset, []
        self.satellite = Satellite(port)
        self.shapes = {}    # its data is there
        self.wanted = [list(always)] if always else []  # to be asked for when there is a connection
        self.asked = {}     # id → list of Select: under way
        self.leaving = {}   # id → list of Select: unsubscribed, not yet gone
        self.cancelled = {}  # … before its data had come: it may come, and go again, or not
        self.answers = {}   # number of a request → (method, ids)
        self.half_open = []  # sockets that nobody reads
        self.seen = 0       # of the connection's log
        self.online = False
        self.history = []   # what was lost with each connection

    def say(self, text):
        self.events(f"{self.name}: {text}")

    # Connections.

    def connect(self):
        """False: not served now."""
        if self.satellite.connection:
            self.satellite = self.satellite.continue_on()
        satellite, self.seen, self.came_at = self.satellite, 0, self.satellite.lsn
        satellite.subscriptions = {name: requests for name, requests in satellite.subscriptions.items() if name in self.shapes or name in self.leaving}
        try:
            satellite.connect()
            satellite.authenticate(unsigned(self.user))
            if satellite.lsn:
                satellite.resume()
            else:
                satellite.start_replication()
        except (Refused, Closed, OSError, EOFError, InvalidHandshake):
            return self._not_now()
        except RpcError as error:
            if self.may_reset and error.code in RESETTING:
                return self._reset(error)
            assert error.code in PASSING, f"{self.name} cannot come back at {satellite.lsn}: {error}"
            return self._not_now()
        self.online = True
        self.say(f"connected at {satellite.lsn.decode() or 'the beginning'} with {len(satellite.subscriptions)}")
        self._guard(self._ask_again)
        return True

    def _not_now(self):
        self.satellite.close()
        self._look()  # what came before that was applied
        return False

    def _reset(self, error):
        """As the published client: what it has goes, what it asks for stays."""
        self.say(f"begins anew: {error}")
        self.resets.append(error.code)
        self.satellite.close()
        self.satellite = Satellite(self.satellite.port, self.satellite.client_id)
        self.wanted += self.shapes.values()
        self.shapes, self.leaving, self.seen = {}, {}, 0
        return False

    def _ask_again(self):
        while self.wanted:
            self._subscribe(self.wanted.pop())
        if self.leaving:
            gone, self.leaving = self.leaving, {}
            self.shapes.update(gone)
            self.unsubscribe(*gone)

    def lost(self, why):
        """The connection is no more."""
        if not self.online:
            return
        self.say(why)
        self.online = False
        self.wanted += self.asked.values()
        self.asked, self.answers, self.cancelled = {}, {}, {}

    def drop(self):
        """Without a word (RST)."""
        self.lost("drops")
        self.satellite.drop()

    def close(self):
        self.lost("closes")
        self.satellite.close()

    def vanish(self):
        """Leaves a connection behind that looks alive."""
        self.lost("vanishes")
        self.half_open.append(self.satellite.socket)

    def discard(self):
        self.satellite.close()
        for socket in self.half_open:
            socket.close()

    # Requests.

    def subscribe(self, *shapes):
        if self.online:
            self._guard(lambda: self._subscribe(list(shapes)))
        else:
            self.wanted.append(list(shapes))

    def _subscribe(self, shapes):
        name = str(uuid.uuid4())
        requests = {str(uuid.uuid4()): {"selects": [shape.message()]} for shape in shapes}
        self.satellite.subscriptions[name] = list(requests)
        self.asked[name] = shapes
        self.say(f"subscribes {name[:8]} {'; '.join(map(str, shapes))}")
        number = self.satellite.request("subscribe", message("SatSubsReq", subscription_id=name, shape_requests=[
            {"request_id": request, "shape_definition": definition} for request, definition in requests.items()]))
        self.answers[number] = "subscribe", [name]

    def unsubscribe(self, *names):
        """Ids whose data is there, or under way."""
        for name in names:
            if name in self.shapes:
                self.leaving[name] = self.shapes.pop(name)
            else:
                self.cancelled[name] = self.asked.pop(name)
        self.say(f"unsubscribes {[name[:8] for name in names]}")

        def ask():
            number = self.satellite.request("unsubscribe", message("SatUnsubsReq", subscription_ids=names))
            self.answers[number] = "unsubscribe", names

        if self.online:
            self._guard(ask)

    # What comes.

    def _guard(self, do):
        try:
            return do()
        except Closed:
            self._was_closed()
        except OSError as error:
            self.lost(f"lost its connection: {error}")
        return None

    def _was_closed(self):
        faults = self.satellite.faults
        assert all(fault.code in PASSING for fault in faults), f"{self.name} is told {faults}"
        self.history.append((self.satellite.closed, [(f.code, f.message) for f in faults]))
        self.lost(f"was closed {self.satellite.closed} {[f.code for f in faults]}")

    def pump(self, seconds=0.0005):
        """Takes what has come."""
        if not self.online:
            return
        self._guard(lambda: self.satellite.pump(seconds))
        self._look()
        if self.online and self.satellite.closed:
            self._was_closed()

    def _look(self):
        satellite = self.satellite
        for what in satellite.log[self.seen:]:
            if isinstance(what, Batch):
                self.say(f"has the data of {what.subscription_id[:8]}, {len(what.ops)} rows at {what.lsn.decode()}")
                for one, other in ((self.asked, self.shapes), (self.cancelled, self.leaving)):
                    if what.subscription_id in one:
                        other[what.subscription_id] = one.pop(what.subscription_id)
            elif isinstance(what, GoneBatch):
                self.say(f"is rid of {[name[:8] for name in what.subscription_ids]}, {len(what.ops)} rows at {what.lsn.decode()}")
                if not any([self.leaving.pop(name, None) for name in what.subscription_ids]):
                    self._told_again(what)
            else:
                assert not isinstance(what, DataError), f"{self.name}: {what}"
        self.seen = len(satellite.log)
        assert not satellite.surprises, f"{self.name} got what did not fit: {satellite.surprises[:3]}"
        for number in [n for n in self.answers if satellite.answered(n)]:
            self._answered(*self.answers.pop(number), satellite.response(number))

    def _told_again(self, batch):
        """Who comes back at the very position and does not say that it has had the batch, as the published client does not, gets it twice."""
        assert batch.lsn == self.came_at, f"{self.name} is told of the end of what it does not have: {batch.subscription_ids}"
        self.satellite.surprises = [op for op in self.satellite.surprises if op not in batch.ops]

    def _answered(self, method, names, answer):
        if method == "subscribe":
            assert not answer.HasField("err"), f"{self.name} may not subscribe: {answer}; {self.asked.get(names[0])}"

    @property
    def settled(self):
        return self.online and not self.asked and not self.answers and not self.wanted

    @property
    def tables(self):
        return self.satellite.tables
