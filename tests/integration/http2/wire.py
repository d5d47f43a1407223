"""HTTP/2 on the wire, by hand: frames that no library would send."""
import socket
import ssl
import struct
import time

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 1
END_HEADERS = 4
PADDED = 8
WITH_PRIORITY = 32
(NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL,
 COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM) = range(12)
TABLE_SIZE, ENABLE_PUSH, MAX_STREAMS, WINDOW_SIZE, FRAME_SIZE, LIST_SIZE = range(1, 7)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CLOSED, TIMEOUT = "closed", "timeout"


def frame(kind, flags, stream, payload=b"", size=None):
    return struct.pack(">I", len(payload) if size is None else size)[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings(*pairs):
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def literal(name, value, first=b"\x00"):
    """A field without indexing, as bytes; lengths up to 126."""
    name, value = name.encode(), value.encode()
    length = lambda n: bytes([n]) if n < 127 else b"\x7f" + varint(n - 127)
    return first + length(len(name)) + name + length(len(value)) + value


def varint(n):
    out = b""
    while n >= 128:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


class Event:
    def __init__(self, kind, flags=0, stream=0, payload=b""):
        self.kind, self.flags, self.stream, self.payload = kind, flags, stream, payload

    def code(self):
        at = 4 if self.kind == GOAWAY else 0
        return struct.unpack(">I", self.payload[at:at + 4])[0]

    def __repr__(self):
        names = ["DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE", "CONTINUATION"]
        if self.kind in (CLOSED, TIMEOUT):
            return self.kind
        more = f" code {self.code()}" if self.kind in (GOAWAY, RST_STREAM) else ""
        return f"{names[self.kind]}(stream {self.stream}, flags {self.flags:#x}, {len(self.payload)} bytes{more})"


def split_frames(data):
    """As suites send them: the preface and each frame by itself; what is no whole frame as it is."""
    if data.startswith(PREFACE):
        yield PREFACE
        data = data[len(PREFACE):]
    while len(data) >= 9 and len(data) >= 9 + int.from_bytes(data[:3], "big"):
        size = 9 + int.from_bytes(data[:3], "big")
        yield data[:size]
        data = data[size:]
    if data:
        yield data


class Connection:
    """One connection, to address or (a server's) accepted. Silence of `patience` seconds is an event. pace: seconds between frames; 0: they leave together."""

    def __init__(self, address=None, tls=None, authority="conformance.test", path="/", patience=2.0, pace=0, accepted=None):
        raw = accepted or socket.create_connection(address)
        raw.settimeout(patience)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = raw if tls is None else tls.wrap_socket(raw, server_hostname=authority)
        self.pace = pace
        self.authority, self.path, self.scheme = authority, path, "http" if tls is None else "https"
        self.buffer, self.settings, self.ended = b"", {}, False

    def send(self, *parts):
        data = b"".join(parts)
        try:
            for i, piece in enumerate(split_frames(data) if self.pace else [data]):
                time.sleep(self.pace if i else 0)
                self.socket.sendall(piece)
        except OSError:
            self.ended = True

    def handshake(self, *pairs):
        self.send(PREFACE, settings(*pairs))
        while True:
            event = self.event()
            if event.kind in (CLOSED, TIMEOUT):
                raise AssertionError(f"no handshake: {event}")
            if event.kind == SETTINGS and not event.flags & ACK:
                self.settings.update(struct.unpack(">HI", event.payload[at:at + 6]) for at in range(0, len(event.payload), 6))
                self.send(frame(SETTINGS, ACK, 0))
            elif event.kind == SETTINGS:
                return

    def accept_handshake(self):
        """A server's side, up to the first request: its stream."""
        preface = b""
        while len(preface) < len(PREFACE):
            more = self.socket.recv(len(PREFACE) - len(preface))
            assert more, "no preface"
            preface += more
        assert preface == PREFACE, preface
        self.send(settings(), frame(SETTINGS, ACK, 0))
        stream = acknowledged = None
        while not (stream and acknowledged):
            event = self.event()
            assert event.kind not in (CLOSED, TIMEOUT), f"no request: {event}"
            stream = event.stream if event.kind == HEADERS else stream
            acknowledged = acknowledged or (event.kind == SETTINGS and event.flags & ACK)
        return stream

    def event(self):
        while True:
            if len(self.buffer) >= 9:
                size = int.from_bytes(self.buffer[:3], "big")
                if len(self.buffer) >= 9 + size:
                    kind, flags, stream = struct.unpack(">BBI", self.buffer[3:9])
                    payload, self.buffer = self.buffer[9:9 + size], self.buffer[9 + size:]
                    return Event(kind, flags, stream & 0x7fffffff, payload)
            try:
                more = self.socket.recv(65536)
            except (TimeoutError, ssl.SSLWantReadError):
                return Event(TIMEOUT)
            except OSError:
                more = b""
            if not more:
                return Event(CLOSED)
            self.buffer += more

    def fields(self, method="GET", **changes):
        """The block of a request's head. changes: of pseudo-fields by name; None leaves one out."""
        pseudo = {":method": method, ":scheme": self.scheme, ":path": self.path, ":authority": self.authority}
        pseudo.update({f":{name}": value for name, value in changes.items()})
        return b"".join(literal(name, value) for name, value in pseudo.items() if value is not None)

    def headers(self, stream=1, flags=END_STREAM | END_HEADERS, block=None, more=b""):
        return frame(HEADERS, flags, stream, (self.fields() if block is None else block) + more)

    def post(self, more=b""):
        return self.headers(flags=END_HEADERS, block=self.fields("POST"), more=more)

    # Expectations: each reads on until it is met, and fails with what came instead.
    def wait(self, want, met):
        last = None
        while True:
            event = self.event()
            if met(event):
                return event
            if event.kind in (CLOSED, TIMEOUT):
                raise AssertionError(f"want {want}; {event}" + (f" after {last}" if last else ""))
            last = event

    def connection_error(self, *codes):
        self.wait(f"GOAWAY of {codes} or the end", lambda e: e.kind == CLOSED or (e.kind == GOAWAY and e.code() in codes))

    def stream_error(self, *codes):
        self.wait(f"RST_STREAM or GOAWAY of {codes}, or the end", lambda e: e.kind == CLOSED or (e.kind in (GOAWAY, RST_STREAM) and e.code() in codes))

    def answered(self, stream=1):
        return self.wait("HEADERS", lambda e: e.kind == HEADERS and e.stream == stream)

    def data(self, size):
        event = self.wait("DATA", lambda e: e.kind == DATA)
        assert len(event.payload) == size, f"want {size} bytes of DATA; {event}"

    def frame_of(self, kind):
        return self.wait(f"a frame of type {kind}", lambda e: e.kind == kind)

    def acknowledged(self):
        self.wait("SETTINGS with ACK", lambda e: e.kind == SETTINGS and e.flags & ACK)

    def stream_closed(self):
        self.wait("the stream's end", lambda e: e.kind in (DATA, HEADERS) and e.flags & END_STREAM or e.kind == RST_STREAM)

    def alive(self):
        self.send(frame(PING, 0, 0, b"stillyou"))
        self.wait("PING with ACK", lambda e: e.kind == PING and e.flags & ACK and e.payload == b"stillyou")

    def alive_or_closed(self):
        self.send(frame(PING, 0, 0, b"stillyou"))
        self.wait("PING with ACK, or the end", lambda e: e.kind == CLOSED or (e.kind == PING and e.flags & ACK))

    def closed(self):
        self.wait("the end", lambda e: e.kind == CLOSED)

    def close(self):
        self.socket.close()


# What a case expects, as a function of its Connection.


def connection(*codes):
    return lambda c: c.connection_error(*codes)


def stream(*codes):
    return lambda c: c.stream_error(*codes)


alive = lambda c: c.alive()
priority = lambda dependency, weight=255: struct.pack(">IB", dependency, weight)
u32 = lambda n: struct.pack(">I", n)
