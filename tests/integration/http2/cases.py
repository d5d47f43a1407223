"""What a server of HTTP/2 must do with frames in and out of order: (RFC section, fact, function of a Connection). `RAW` cases begin without the handshake."""
import struct

from wire import *  # noqa: F403: a vocabulary

CASES, RAW = [], set()


def case(section, fact, raw=False):
    def add(function):
        CASES.append((section, fact, function))
        if raw:
            RAW.add(function)
        return function
    return add


def row(section, fact, send, check):
    """send(c): bytes; check(c): the expectation."""
    def run(c):
        c.send(send(c))
        check(c)
    CASES.append((section, fact, run))


answered = lambda c: c.answered()
closing = lambda c: c.closed()

# --- RFC 9113 section 3.4: the preface


@case("3.4", "the server's first frame is SETTINGS", raw=True)
def _(c):
    c.send(PREFACE, settings((WINDOW_SIZE, 65535)))
    first = c.event()
    assert first.kind == SETTINGS and not first.flags & ACK, first


@case("3.4", "a preface that is none ends the connection", raw=True)
def _(c):
    c.send(b"INVALID CONNECTION PREFACE\r\n\r\n")
    while c.socket.recv(4096):
        pass


@case("3.4", "the client's first frame must be SETTINGS", raw=True)
def _(c):
    c.send(PREFACE, frame(PING, 0, 0, b"x" * 8))
    c.connection_error(PROTOCOL_ERROR)


# --- 4: frames
row("4.1", "frames of unknown type are ignored", lambda c: frame(0xff, 0, 0, b"x" * 8), alive)
row("4.1", "undefined flags are ignored", lambda c: frame(PING, 0xfe & ~ACK, 0, b"12345678"), lambda c: c.wait("PING with ACK", lambda e: e.kind == PING and e.flags & ACK))
row("4.1", "the reserved bit of an identifier is ignored", lambda c: frame(PING, 0, 1 << 31, b"12345678"), lambda c: c.wait("PING with ACK", lambda e: e.kind == PING and e.flags & ACK))
row("4.2", "DATA of 2^14 bytes is taken", lambda c: c.post() + frame(DATA, END_STREAM, 1, b"x" * (1 << 14)), answered)
row("4.2", "DATA that is too large is FRAME_SIZE_ERROR", lambda c: c.post() + frame(DATA, END_STREAM, 1, b"x" * ((1 << 14) + 1)), stream(FRAME_SIZE_ERROR))
row("4.2", "HEADERS that are too large are FRAME_SIZE_ERROR", lambda c: c.headers(more=b"".join(literal(f"x-dummy{i}", "x" * 4096) for i in range(5))), connection(FRAME_SIZE_ERROR))
row("4.3", "a block that does not decode is COMPRESSION_ERROR", lambda c: frame(HEADERS, END_STREAM | END_HEADERS, 1, b"\x40"), connection(COMPRESSION_ERROR))
row("4.3", "a literal cut short is COMPRESSION_ERROR", lambda c: frame(HEADERS, END_STREAM | END_HEADERS, 1, b"\x00\x00\x01"), connection(COMPRESSION_ERROR))
row("4.3", "PRIORITY within a block is PROTOCOL_ERROR", lambda c: c.headers(flags=END_STREAM) + frame(PRIORITY, 0, 1, priority(0)) + frame(CONTINUATION, END_HEADERS, 1, literal("x", "y")), connection(PROTOCOL_ERROR))
row("4.3", "HEADERS of another stream within a block are PROTOCOL_ERROR", lambda c: c.headers(flags=END_STREAM) + c.headers(3), connection(PROTOCOL_ERROR))

# --- 5.1: states of a stream
row("5.1", "idle: DATA", lambda c: frame(DATA, END_STREAM, 1, b"test"), connection(PROTOCOL_ERROR))
row("5.1", "idle: RST_STREAM", lambda c: frame(RST_STREAM, 0, 1, u32(CANCEL)), connection(PROTOCOL_ERROR))
row("5.1", "idle: WINDOW_UPDATE", lambda c: frame(WINDOW_UPDATE, 0, 1, u32(100)), connection(PROTOCOL_ERROR))
row("5.1", "idle: CONTINUATION", lambda c: frame(CONTINUATION, END_HEADERS, 1, c.fields()), connection(PROTOCOL_ERROR))
row("5.1", "idle: PRIORITY is taken", lambda c: frame(PRIORITY, 0, 1, priority(0)), alive)
row("5.1", "half-closed: DATA", lambda c: c.headers() + frame(DATA, END_STREAM, 1, b"test"), stream(STREAM_CLOSED))
row("5.1", "half-closed: HEADERS", lambda c: c.headers() + c.headers(), stream(STREAM_CLOSED))
row("5.1", "half-closed: CONTINUATION", lambda c: c.headers() + frame(CONTINUATION, END_HEADERS, 1, c.fields()), stream(STREAM_CLOSED, PROTOCOL_ERROR))
row("5.1", "half-closed: RST_STREAM is taken", lambda c: c.headers() + frame(RST_STREAM, 0, 1, u32(CANCEL)), lambda c: c.alive_or_closed())
row("5.1", "half-closed: WINDOW_UPDATE lets data flow", lambda c: settings((WINDOW_SIZE, 0)) + c.headers() + frame(WINDOW_UPDATE, 0, 1, u32(1)), lambda c: c.data(1))
row("5.1", "half-closed: PRIORITY is taken", lambda c: settings((WINDOW_SIZE, 0)) + c.headers() + frame(PRIORITY, 0, 1, priority(0)) + frame(WINDOW_UPDATE, 0, 1, u32(1)), lambda c: c.data(1))
row("5.1", "reset: DATA", lambda c: c.post() + frame(RST_STREAM, 0, 1, u32(CANCEL)) + frame(DATA, END_STREAM, 1, b"test"), stream(STREAM_CLOSED))
row("5.1", "reset: HEADERS", lambda c: c.post() + frame(RST_STREAM, 0, 1, u32(CANCEL)) + c.headers(), stream(STREAM_CLOSED))
row("5.1", "reset: CONTINUATION", lambda c: c.post() + frame(RST_STREAM, 0, 1, u32(CANCEL)) + frame(CONTINUATION, END_HEADERS, 1, literal("x", "y")), stream(STREAM_CLOSED, PROTOCOL_ERROR))


def after_the_answer(fact, late, check):
    def run(c):
        c.send(c.headers())
        c.stream_closed()
        c.send(late(c))
        check(c)
    CASES.append(("5.1", f"closed: {fact}", run))


after_the_answer("DATA", lambda c: frame(DATA, END_STREAM, 1, b"test"), connection(STREAM_CLOSED))
after_the_answer("HEADERS", lambda c: c.headers(), connection(STREAM_CLOSED))
after_the_answer("CONTINUATION", lambda c: frame(CONTINUATION, END_HEADERS, 1, literal("x", "y")), connection(STREAM_CLOSED, PROTOCOL_ERROR))
after_the_answer("PRIORITY is taken", lambda c: frame(PRIORITY, 0, 1, priority(0)), alive)
after_the_answer("WINDOW_UPDATE is taken", lambda c: frame(WINDOW_UPDATE, 0, 1, u32(1)), alive)
after_the_answer("RST_STREAM is taken", lambda c: frame(RST_STREAM, 0, 1, u32(CANCEL)), alive)

row("5.1.1", "an even identifier is PROTOCOL_ERROR", lambda c: c.headers(2), connection(PROTOCOL_ERROR))


@case("5.1.1", "an identifier below an earlier one is PROTOCOL_ERROR")
def _(c):
    c.send(c.headers(5))
    c.answered(5)
    c.send(c.headers(3))
    c.connection_error(PROTOCOL_ERROR, STREAM_CLOSED)


@case("5.1.2", "more streams than were granted are refused")
def _(c):
    most = c.settings.get(MAX_STREAMS)
    assert most, "no limit of streams"
    c.send(settings((WINDOW_SIZE, 0)), *(c.headers(1 + 2 * i) for i in range(most + 1)))
    c.stream_error(PROTOCOL_ERROR, REFUSED_STREAM)


row("5.3.1", "HEADERS that depend on their own stream", lambda c: frame(HEADERS, END_STREAM | END_HEADERS | WITH_PRIORITY, 1, priority(1) + c.fields()), stream(PROTOCOL_ERROR))
row("5.3.1", "PRIORITY that depends on its own stream", lambda c: frame(PRIORITY, 0, 2, priority(2)), stream(PROTOCOL_ERROR))
row("5.4.1", "a GOAWAY of ours is followed by the end", lambda c: frame(DATA, END_STREAM, 0, b"test"), closing)
row("5.5", "an unknown type within a block is PROTOCOL_ERROR", lambda c: c.headers(flags=END_STREAM) + frame(0xff, 0, 0, b"x" * 8) + frame(CONTINUATION, END_HEADERS, 1, literal("x", "y")), connection(PROTOCOL_ERROR))

# --- 6: each type of frame
row("6.1", "DATA on stream 0", lambda c: frame(DATA, END_STREAM, 0, b"test"), connection(PROTOCOL_ERROR))
row("6.1", "DATA whose padding is its all", lambda c: c.post() + frame(DATA, END_STREAM | PADDED, 1, b"\x06test\x00"), connection(PROTOCOL_ERROR))
row("6.1", "DATA with padding", lambda c: c.post() + frame(DATA, END_STREAM | PADDED, 1, b"\x06test" + b"\x00" * 6), answered)
row("6.1", "DATA in two frames", lambda c: c.post() + frame(DATA, 0, 1, b"test") + frame(DATA, END_STREAM, 1, b"test"), answered)
row("6.1", "DATA without a byte", lambda c: c.post() + frame(DATA, END_STREAM, 1), answered)
row("6.2", "HEADERS", lambda c: c.headers(), answered)
row("6.2", "HEADERS with padding", lambda c: frame(HEADERS, END_STREAM | END_HEADERS | PADDED, 1, b"\x08" + c.fields() + b"\x00" * 8), answered)
row("6.2", "HEADERS with a priority", lambda c: frame(HEADERS, END_STREAM | END_HEADERS | WITH_PRIORITY, 1, priority(0) + c.fields()), answered)
row("6.2", "HEADERS with both", lambda c: frame(HEADERS, END_STREAM | END_HEADERS | PADDED | WITH_PRIORITY, 1, b"\x08" + priority(0) + c.fields() + b"\x00" * 8), answered)
row("6.2", "HEADERS followed by PRIORITY before the block's end", lambda c: c.headers(flags=END_STREAM) + frame(PRIORITY, 0, 1, priority(0)), connection(PROTOCOL_ERROR))
row("6.2", "HEADERS on stream 0", lambda c: c.headers(0), connection(PROTOCOL_ERROR))
row("6.2", "HEADERS whose padding is more than there is", lambda c: frame(HEADERS, END_STREAM | END_HEADERS | PADDED, 1, b"\xff" + c.fields()[:20]), connection(PROTOCOL_ERROR))
row("6.3", "PRIORITY with a dependency", lambda c: frame(PRIORITY, 0, 3, priority(1)) + c.headers(), answered)
row("6.3", "PRIORITY that is exclusive", lambda c: frame(PRIORITY, 0, 1, priority(1 << 31)) + c.headers(), answered)
row("6.3", "PRIORITY on stream 0", lambda c: frame(PRIORITY, 0, 0, priority(0)), connection(PROTOCOL_ERROR))
row("6.3", "PRIORITY of four bytes", lambda c: c.post() + frame(PRIORITY, 0, 1, b"\x80\x00\x00\x01"), stream(FRAME_SIZE_ERROR))
row("6.4", "RST_STREAM ends a stream alone", lambda c: c.post() + frame(RST_STREAM, 0, 1, u32(CANCEL)), lambda c: c.alive_or_closed())
row("6.4", "RST_STREAM on stream 0", lambda c: frame(RST_STREAM, 0, 0, u32(CANCEL)), connection(PROTOCOL_ERROR))
row("6.4", "RST_STREAM on an idle stream", lambda c: frame(RST_STREAM, 0, 1, u32(CANCEL)), connection(PROTOCOL_ERROR))
row("6.4", "RST_STREAM of three bytes", lambda c: c.post() + frame(RST_STREAM, 0, 1, b"\x00\x00\x00"), connection(FRAME_SIZE_ERROR))
row("6.5", "SETTINGS are acknowledged", lambda c: settings((ENABLE_PUSH, 0)), lambda c: c.acknowledged())
row("6.5", "SETTINGS with ACK and a payload", lambda c: frame(SETTINGS, ACK, 0, struct.pack(">HI", ENABLE_PUSH, 0)), connection(FRAME_SIZE_ERROR))
row("6.5", "SETTINGS on a stream", lambda c: frame(SETTINGS, 0, 1, struct.pack(">HI", MAX_STREAMS, 100)), connection(PROTOCOL_ERROR))
row("6.5", "SETTINGS of three bytes", lambda c: frame(SETTINGS, 0, 0, b"\x00\x03\x00"), connection(FRAME_SIZE_ERROR))
row("6.5.2", "ENABLE_PUSH of 2", lambda c: settings((ENABLE_PUSH, 2)), connection(PROTOCOL_ERROR))
row("6.5.2", "INITIAL_WINDOW_SIZE above 2^31-1", lambda c: settings((WINDOW_SIZE, 1 << 31)), connection(FLOW_CONTROL_ERROR))
row("6.5.2", "MAX_FRAME_SIZE below 2^14", lambda c: settings((FRAME_SIZE, 16383)), connection(PROTOCOL_ERROR))
row("6.5.2", "MAX_FRAME_SIZE above 2^24-1", lambda c: settings((FRAME_SIZE, 1 << 24)), connection(PROTOCOL_ERROR))
row("6.5.2", "an unknown setting is ignored", lambda c: settings((0xff, 1)), alive)


@case("6.5.3", "of two values of one setting the last counts")
def _(c):
    c.send(settings((WINDOW_SIZE, 100), (WINDOW_SIZE, 1)))
    c.acknowledged()
    c.send(c.headers())
    c.data(1)


row("6.7", "PING is answered with its payload", lambda c: b"", alive)


@case("6.7", "PING with ACK is not answered")
def _(c):
    c.send(frame(PING, ACK, 0, b"unwanted"), frame(PING, 0, 0, b"wanted!!"))
    event = c.frame_of(PING)
    assert event.payload == b"wanted!!", event


row("6.7", "PING on a stream", lambda c: frame(PING, 0, 1, b"x" * 8), connection(PROTOCOL_ERROR))
row("6.7", "PING of six bytes", lambda c: frame(PING, 0, 0, b"x" * 6), connection(FRAME_SIZE_ERROR))
row("6.8", "GOAWAY on a stream", lambda c: frame(GOAWAY, 0, 1, u32(0) + u32(0)), connection(PROTOCOL_ERROR))
row("6.8", "GOAWAY is taken", lambda c: frame(GOAWAY, 0, 0, u32(0) + u32(NO_ERROR)), lambda c: c.alive_or_closed())
row("6.9", "WINDOW_UPDATE of 0 for the connection", lambda c: frame(WINDOW_UPDATE, 0, 0, u32(0)), connection(PROTOCOL_ERROR))
row("6.9", "WINDOW_UPDATE of 0 for a stream", lambda c: c.post() + frame(WINDOW_UPDATE, 0, 1, u32(0)), stream(PROTOCOL_ERROR))
row("6.9", "WINDOW_UPDATE of three bytes", lambda c: frame(WINDOW_UPDATE, 0, 0, b"\x00\x00\x01"), connection(FRAME_SIZE_ERROR))
row("6.9", "WINDOW_UPDATE for the connection", lambda c: frame(WINDOW_UPDATE, 0, 0, u32(1)) + c.headers(), answered)


@case("6.9.1", "DATA is no more than the window")
def _(c):
    c.send(settings((WINDOW_SIZE, 1)))
    c.acknowledged()
    c.send(c.headers())
    c.data(1)


@case("6.9.1", "the connection's window past 2^31-1 is FLOW_CONTROL_ERROR")
def _(c):
    c.send(frame(WINDOW_UPDATE, 0, 0, u32((1 << 31) - 1)) * 2)
    event = c.frame_of(GOAWAY)
    assert event.code() == FLOW_CONTROL_ERROR, event


@case("6.9.1", "a stream's window past 2^31-1 is FLOW_CONTROL_ERROR")
def _(c):
    c.send(c.post(), frame(WINDOW_UPDATE, 0, 1, u32((1 << 31) - 1)) * 2)
    event = c.frame_of(RST_STREAM)
    assert event.code() == FLOW_CONTROL_ERROR and event.stream == 1, event


@case("6.9.2", "a new initial window counts for streams that are open")
def _(c):
    c.send(settings((WINDOW_SIZE, 0)))
    c.acknowledged()
    c.send(c.headers(), settings((WINDOW_SIZE, 1)))
    c.acknowledged()
    c.data(1)


@case("6.9.2", "a window may become negative")
def _(c):
    c.send(settings((WINDOW_SIZE, 3)))
    c.acknowledged()
    c.send(c.headers())
    c.data(3)
    c.send(settings((WINDOW_SIZE, 2)))
    c.acknowledged()
    c.send(frame(WINDOW_UPDATE, 0, 1, u32(2)))
    c.data(1)


row("6.9.2", "an initial window past 2^31-1 is FLOW_CONTROL_ERROR", lambda c: settings((WINDOW_SIZE, 1 << 31)), connection(FLOW_CONTROL_ERROR))
row("6.10", "CONTINUATION", lambda c: c.headers(flags=END_STREAM) + frame(CONTINUATION, END_HEADERS, 1, literal("x-dummy", "y")), answered)
row("6.10", "two CONTINUATIONs", lambda c: c.headers(flags=END_STREAM) + frame(CONTINUATION, 0, 1, literal("x-dummy", "y")) + frame(CONTINUATION, END_HEADERS, 1, literal("x-dummy", "z")), answered)
row("6.10", "CONTINUATION followed by DATA before the block's end", lambda c: c.headers(flags=0) + frame(CONTINUATION, 0, 1, literal("x-dummy", "y")) + frame(DATA, END_STREAM, 1, b"test"), connection(PROTOCOL_ERROR))
row("6.10", "CONTINUATION on stream 0", lambda c: c.headers(flags=END_STREAM) + frame(CONTINUATION, END_HEADERS, 0, literal("x-dummy", "y")), connection(PROTOCOL_ERROR))
row("6.10", "CONTINUATION behind a whole block", lambda c: c.post() + frame(CONTINUATION, END_HEADERS, 1, literal("x-dummy", "y")), connection(PROTOCOL_ERROR))
row("6.10", "CONTINUATION behind a whole CONTINUATION", lambda c: c.headers(flags=0) + frame(CONTINUATION, END_HEADERS, 1, literal("x-dummy", "y")) * 2, connection(PROTOCOL_ERROR))
row("6.10", "CONTINUATION behind DATA", lambda c: c.post() + frame(DATA, 0, 1, b"test") + frame(CONTINUATION, END_HEADERS, 1, literal("x-dummy", "y")), connection(PROTOCOL_ERROR))
row("7", "an unknown code of GOAWAY is nothing special", lambda c: frame(GOAWAY, 0, 0, u32(0) + u32(0xff)), closing)
row("7", "an unknown code of RST_STREAM is nothing special", lambda c: c.post() + frame(RST_STREAM, 0, 1, u32(0xff)), alive)

# --- 8: messages
row("8.1", "GET", lambda c: c.headers(), answered)
row("8.1", "HEAD", lambda c: c.headers(block=c.fields("HEAD")), answered)
row("8.1", "POST", lambda c: c.post() + frame(DATA, END_STREAM, 1, b"test"), answered)
row("8.1", "POST with a trailer", lambda c: c.post(literal("trailer", "x-test")) + frame(DATA, 0, 1, b"test") + frame(HEADERS, END_STREAM | END_HEADERS, 1, literal("x-test", "ok")), answered)
row("8.1", "a second block without END_STREAM", lambda c: c.post() + frame(HEADERS, END_HEADERS, 1, literal("x-test", "ok")), stream(PROTOCOL_ERROR))
for fact, block in {
    "an upper-case name": lambda c: c.fields() + literal("X-TEST", "ok"),
    "a name with a blank": lambda c: c.fields() + literal("x test", "ok"),
    "a name with a colon": lambda c: c.fields() + literal("x:test", "ok"),
    "a value with a line feed": lambda c: c.fields() + literal("x-test", "a\nb"),
    "a value with NUL": lambda c: c.fields() + literal("x-test", "a\0b"),
    "a value that begins with a blank": lambda c: c.fields() + literal("x-test", " a"),
    "a value that ends with a tab": lambda c: c.fields() + literal("x-test", "a\t"),
    "an unknown pseudo-field": lambda c: c.fields() + literal(":test", "ok"),
    "a pseudo-field of answers": lambda c: c.fields() + literal(":status", "200"),
    "a pseudo-field behind a field": lambda c: literal("x-test", "ok") + c.fields(),
    "connection": lambda c: c.fields() + literal("connection", "keep-alive"),
    "transfer-encoding": lambda c: c.fields() + literal("transfer-encoding", "chunked"),
    "upgrade": lambda c: c.fields() + literal("upgrade", "websocket"),
    "te other than trailers": lambda c: c.fields() + literal("te", "trailers, deflate"),
    "an empty :path": lambda c: c.fields(path=""),
    "no :method": lambda c: c.fields(method=None),
    "no :scheme": lambda c: c.fields(scheme=None),
    "no :path": lambda c: c.fields(path=None),
    "two :method": lambda c: literal(":method", "GET") + c.fields(),
    "two :scheme": lambda c: literal(":scheme", c.scheme) + c.fields(),
    "two :path": lambda c: literal(":path", "/") + c.fields(),
    "a host beside another :authority": lambda c: c.fields() + literal("host", "other.test"),
    "two content-lengths": lambda c: c.fields() + literal("content-length", "0") + literal("content-length", "1"),
    "a content-length that is no number": lambda c: c.fields() + literal("content-length", "x"),
}.items():
    row("8.2" if ":" not in fact else "8.3", fact, lambda c, block=block: c.headers(block=block(c)), stream(PROTOCOL_ERROR))
row("8.3", "a pseudo-field in a trailer", lambda c: c.post() + frame(DATA, 0, 1, b"test") + frame(HEADERS, END_STREAM | END_HEADERS, 1, literal(":method", "GET")), stream(PROTOCOL_ERROR))
row("8.2.2", "te: trailers is taken", lambda c: c.headers(more=literal("te", "trailers")), answered)
row("8.1.1", "a content-length that one DATA frame misses", lambda c: c.post(literal("content-length", "1")) + frame(DATA, END_STREAM, 1, b"test"), stream(PROTOCOL_ERROR))
row("8.1.1", "a content-length that two DATA frames miss", lambda c: c.post(literal("content-length", "1")) + frame(DATA, 0, 1, b"test") + frame(DATA, END_STREAM, 1, b"test"), stream(PROTOCOL_ERROR))
row("8.1.1", "a content-length that is not reached", lambda c: c.post(literal("content-length", "9")) + frame(DATA, END_STREAM, 1, b"test"), stream(PROTOCOL_ERROR))
row("8.1.1", "a content-length without content", lambda c: c.headers(more=literal("content-length", "9")), stream(PROTOCOL_ERROR))
row("8.4", "PUSH_PROMISE of a client", lambda c: frame(PUSH_PROMISE, END_HEADERS, 1, u32(2) + c.fields()), connection(PROTOCOL_ERROR))
CONNECT = lambda c, *more: b"".join(literal(name, value) for name, value in ((":method", "CONNECT"), (":authority", "a.test:80"), *more))
row("8.5", "CONNECT with a :path", lambda c: c.headers(block=CONNECT(c, (":scheme", c.scheme), (":path", "/"))), stream(PROTOCOL_ERROR))
row("8.5", "CONNECT without an :authority", lambda c: c.headers(block=literal(":method", "CONNECT")), stream(PROTOCOL_ERROR))
row("8441 3", "ENABLE_CONNECT_PROTOCOL of 2", lambda c: settings((8, 2)), connection(PROTOCOL_ERROR))
row("8441 4", "a :protocol of GET", lambda c: c.headers(block=literal(":protocol", "websocket") + c.fields()), stream(PROTOCOL_ERROR))
row("8441 4", "a :protocol without a :path", lambda c: c.headers(block=CONNECT(c, (":protocol", "websocket"), (":scheme", c.scheme))), stream(PROTOCOL_ERROR))
row("8441 4", "two :protocol", lambda c: c.headers(block=CONNECT(c, (":protocol", "websocket"), (":protocol", "websocket"), (":scheme", c.scheme), (":path", "/"))), stream(PROTOCOL_ERROR))

# --- The same as a public suite has it, where it is another course of frames.
values = lambda count: b"".join(literal(f"x-dummy{i}", "x" * 4000) for i in range(count))
get_open = lambda c, stream=1, more=b"": c.headers(stream, END_HEADERS, more=more)  # GET without END_STREAM
row("3.3", "PRIORITY of weight 1", lambda c: frame(PRIORITY, 0, 1, priority(0, 0)) + c.headers(), answered)
row("3.3", "PRIORITY of weight 256", lambda c: frame(PRIORITY, 0, 1, priority(0, 255)) + c.headers(), answered)
row("3.3", "PRIORITY of an idle stream above opens nothing", lambda c: frame(PRIORITY, 0, 3, priority(0)) + c.headers(), answered)
row("3.5", "SETTINGS of all kinds are acknowledged", lambda c: settings((TABLE_SIZE, 4096), (ENABLE_PUSH, 1), (MAX_STREAMS, 100), (WINDOW_SIZE, 65535), (FRAME_SIZE, 16384), (LIST_SIZE, 100)), lambda c: c.acknowledged())
row("3.8", "GOAWAY with a text is followed by the end", lambda c: frame(GOAWAY, 0, 0, u32(0) + u32(NO_ERROR) + b"farewell"), closing)
row("3.9", "WINDOW_UPDATE of a stream", lambda c: c.headers() + frame(WINDOW_UPDATE, 0, 1, u32(1)), answered)
row("4.1", "flags without a meaning on PING", lambda c: frame(PING, 0x16, 0, b"\x00" * 8), lambda c: c.frame_of(PING))
row("4.1", "flags without a meaning and the reserved bit", lambda c: frame(PING, 0x16, 1 << 31, b"\x00" * 8), lambda c: c.frame_of(PING))
row("4.2", "HEADERS with fields that are too large in sum", lambda c: c.headers(more=values(5)), connection(FRAME_SIZE_ERROR))
row("4.3", "PRIORITY within a block of an open stream", lambda c: c.headers(flags=0) + frame(PRIORITY, 0, 1, priority(0)) + frame(CONTINUATION, END_HEADERS, 1, values(1)), connection(PROTOCOL_ERROR))
row("4.3", "HEADERS of another stream within a block of an open one", lambda c: c.headers(flags=0) + c.headers(3) + frame(CONTINUATION, END_HEADERS, 1, values(1)), connection(PROTOCOL_ERROR))
row("5.1", "reset: DATA behind a GET", lambda c: get_open(c) + frame(RST_STREAM, 0, 1, u32(CANCEL)) + frame(DATA, END_STREAM, 1, b"test"), stream(STREAM_CLOSED))
row("5.1", "reset: HEADERS behind a GET", lambda c: get_open(c) + frame(RST_STREAM, 0, 1, u32(CANCEL)) + c.headers(), stream(STREAM_CLOSED))
row("5.1", "reset: CONTINUATION behind a GET", lambda c: get_open(c) + frame(RST_STREAM, 0, 1, u32(CANCEL)) + frame(CONTINUATION, END_HEADERS, 1, values(1)), stream(STREAM_CLOSED, PROTOCOL_ERROR))
row("5.1.1", "an identifier below an earlier one, at once", lambda c: c.headers(5) + c.headers(3), connection(PROTOCOL_ERROR))
row("5.1.1", "HEADERS twice on a stream above the first", lambda c: c.headers(5) + c.headers(5), stream(STREAM_CLOSED))
row("5.4.1", "PING on a stream ends the connection", lambda c: frame(PING, 0, 3, b"\x00" * 8), closing)
row("5.4.1", "and a GOAWAY says so before", lambda c: frame(PING, 0, 3, b"\x00" * 8), lambda c: c.frame_of(GOAWAY))
row("6.1", "DATA whose padding is more than there is, of a length", lambda c: c.post(literal("content-length", "4")) + frame(DATA, END_STREAM | PADDED, 1, b"\x06Test"), connection(PROTOCOL_ERROR))
row("6.2", "HEADERS whose padding is one more than there is", lambda c: frame(HEADERS, END_STREAM | END_HEADERS | PADDED, 1, bytes([min(255, len(c.fields()) + 2)]) + c.fields()), stream(PROTOCOL_ERROR))
row("6.3", "PRIORITY of four bytes behind a GET", lambda c: c.headers() + frame(PRIORITY, 0, 1, b"\x80\x00\x00\x01"), stream(FRAME_SIZE_ERROR))
row("6.4", "RST_STREAM of three bytes behind a GET", lambda c: c.headers() + frame(RST_STREAM, 0, 1, b"\x00\x00\x00"), stream(FRAME_SIZE_ERROR))
row("6.4", "RST_STREAM of a GET that is open", lambda c: get_open(c) + frame(RST_STREAM, 0, 1, u32(CANCEL)), lambda c: c.alive_or_closed())
row("6.5", "SETTINGS with ACK and a byte", lambda c: frame(SETTINGS, ACK, 0, b"\x00"), connection(FRAME_SIZE_ERROR))
row("6.9", "WINDOW_UPDATE of 0 for a GET that is open", lambda c: get_open(c) + frame(WINDOW_UPDATE, 0, 1, u32(0)), stream(PROTOCOL_ERROR))


@case("6.9.1", "a window past 2^31-1, of a GET that is open")
def _(c):
    c.send(get_open(c), frame(WINDOW_UPDATE, 0, 1, u32((1 << 31) - 1)) * 2)
    event = c.frame_of(RST_STREAM)
    assert event.code() == FLOW_CONTROL_ERROR and event.stream == 1, event


row("6.10", "two CONTINUATIONs of large fields", lambda c: c.headers(flags=END_STREAM) + frame(CONTINUATION, 0, 1, values(1)) + frame(CONTINUATION, END_HEADERS, 1, values(1)), answered)
row("8.1", "a second block without END_STREAM behind DATA", lambda c: c.post() + frame(DATA, 0, 1, b"test") + frame(HEADERS, END_HEADERS, 1, literal("x-test", "ok")), stream(PROTOCOL_ERROR))
row("8.3", "a pseudo-field in a trailer that ends nothing", lambda c: c.post() + frame(DATA, 0, 1, b"test") + frame(HEADERS, END_HEADERS, 1, literal(":method", "POST")), stream(PROTOCOL_ERROR))
row("8.2.2", "te other than trailers, beside a field of that name", lambda c: c.headers(more=literal("trailers", "test") + literal("te", "trailers, deflate")), stream(PROTOCOL_ERROR))
row("8.3.1", "neither :method nor :scheme", lambda c: c.headers(block=c.fields(method=None, scheme=None)), stream(PROTOCOL_ERROR))
for name, value in ((":method", lambda c: "GET"), (":method", lambda c: "/"), (":scheme", lambda c: c.scheme), (":path", lambda c: c.path)):
    row("8.3.1", f"{name} once more at the end", lambda c, name=name, value=value: c.headers(more=literal(name, value(c))), stream(PROTOCOL_ERROR))
row("8.4", "PUSH_PROMISE of a client's stream", lambda c: frame(PUSH_PROMISE, END_HEADERS, 1, u32(3) + c.fields()), connection(PROTOCOL_ERROR))
row("hpack 6.1", "user-agent of the static table", lambda c: c.headers(more=b"\xba"), answered)
row("hpack 2.3.3", "index 126", lambda c: c.headers(more=b"\xfe"), connection(COMPRESSION_ERROR))
row("hpack 5.2", "a byte of padding behind a whole string", lambda c: c.headers(more=b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff"), connection(COMPRESSION_ERROR))
row("hpack 5.2", "EOS at the begin", lambda c: c.headers(more=b"\x00\x85\xf2\xb2\x4a\x84\xff\x87\xff\xff\xff\xfd\x25\x42\x7f"), connection(COMPRESSION_ERROR))

# --- RFC 7541: HPACK. Blocks of each representation; user-agent or x-test, plain and Huffman-coded.
HUFFMAN_AGENT, HUFFMAN_TEST, HUFFMAN_VALUE = b"\x87\xb5\x05\xb1\x61\xcc\x5a\x93", b"\x85\xf2\xb2\x4a\x84\xff", b"\x84\x9c\x48\xac\xa4"
PLAIN_VALUE = b"\x06h2spec"
for name, first, indexed in (("6.2.1", b"\x40", b"\x7a"), ("6.2.2", b"\x00", b"\x0f\x2b"), ("6.2.3", b"\x10", b"\x1f\x2b")):
    for what, field in {"an indexed name": indexed + PLAIN_VALUE, "an indexed name, Huffman": indexed + HUFFMAN_VALUE, "a new name": first + b"\x06x-test" + PLAIN_VALUE,
                        "a new name, Huffman": first + HUFFMAN_TEST + HUFFMAN_VALUE, "user-agent, Huffman": first + HUFFMAN_AGENT + HUFFMAN_VALUE}.items():
        row(f"hpack {name}", what, lambda c, field=field: c.headers(more=field), answered)
row("hpack 6.1", "an indexed field", lambda c: c.headers(more=b"\x40\x06x-test\x02ok\xbe"), answered)
row("hpack 6.1", "index 0", lambda c: c.headers(more=b"\x80"), connection(COMPRESSION_ERROR))
row("hpack 6.3", "a size update", lambda c: c.headers(block=b"\x20" + c.fields()), answered)
row("hpack 6.3", "two size updates", lambda c: c.headers(block=b"\x20\x3f\xe1\x1f" + c.fields()), answered)
row("hpack 6.3", "a size above the setting", lambda c: c.headers(block=b"\x3f\xe2\x1f" + c.fields()), connection(COMPRESSION_ERROR))
row("hpack 4.2", "a size update at the end", lambda c: c.headers(more=b"\x21"), connection(COMPRESSION_ERROR))
row("hpack 2.3.3", "an index that is not there", lambda c: c.headers(more=b"\xc6"), connection(COMPRESSION_ERROR))
row("hpack 2.3.3", "a name's index that is not there", lambda c: c.headers(more=b"\x7f\x07\x01x"), connection(COMPRESSION_ERROR))
row("hpack 5.2", "Huffman padding of eight bits", lambda c: c.headers(more=b"\x00" + HUFFMAN_TEST + b"\x85" + HUFFMAN_VALUE[1:] + b"\xff"), connection(COMPRESSION_ERROR))
row("hpack 5.2", "Huffman padding of zeros", lambda c: c.headers(more=b"\x00\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x90"), connection(COMPRESSION_ERROR))
row("hpack 5.2", "Huffman with EOS", lambda c: c.headers(more=b"\x00\x85\xf2\xb2\x4a\x84\xff\x88\x49\x50\x9f\xff\xff\xff\xff\xff"), connection(COMPRESSION_ERROR))
