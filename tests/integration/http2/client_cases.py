"""What a client of HTTP/2 must do with a server's frames in and out of order: (RFC section, fact, function of a Connection and the request's stream)."""
import struct

from wire import *  # noqa: F403: a vocabulary

CASES = []
OK = literal(":status", "200")
values = lambda count: b"".join(literal(f"x-dummy{i}", "x" * 4000) for i in range(count))


def row(section, fact, send, check):
    """send(id): bytes; check(c): the expectation."""
    def run(c, stream):
        c.send(send(stream))
        check(c)
    CASES.append((section, fact, run))


head = lambda id, flags=END_HEADERS, block=OK: frame(HEADERS, flags, id, block)
whole = lambda id: head(id, END_HEADERS | END_STREAM)
reset = lambda id: frame(RST_STREAM, 0, id, u32(CANCEL))

row("3.4", "an answer", lambda id: whole(id), alive)
row("4.1", "frames of unknown type are ignored", lambda id: frame(0x16, 0, 0, b"x" * 8), alive)
row("4.1", "flags without a meaning are ignored", lambda id: frame(PING, 0x16, 0, b"x" * 8), lambda c: c.frame_of(PING))
row("4.1", "the reserved bit of an identifier is ignored", lambda id: frame(PING, 0x16, 1 << 31, b"x" * 8), lambda c: c.frame_of(PING))
row("4.2", "DATA of 2^14 bytes is taken", lambda id: head(id) + frame(DATA, END_STREAM, id, b"x" * (1 << 14)), alive)
row("4.2", "DATA that is too large is FRAME_SIZE_ERROR", lambda id: head(id) + frame(DATA, END_STREAM, id, b"x" * ((1 << 14) + 1)), stream(FRAME_SIZE_ERROR))
row("4.2", "HEADERS that are too large are FRAME_SIZE_ERROR", lambda id: head(id, END_HEADERS | END_STREAM, OK + values(5)), connection(FRAME_SIZE_ERROR))
row("4.3", "a block that does not decode is COMPRESSION_ERROR", lambda id: head(id, END_HEADERS | END_STREAM, b"\x40"), connection(COMPRESSION_ERROR))
row("4.3", "PRIORITY within a block", lambda id: head(id, 0) + frame(PRIORITY, 0, id, priority(0)) + frame(CONTINUATION, END_HEADERS, id, values(1)), connection(PROTOCOL_ERROR))
row("4.3", "HEADERS of another stream within a block", lambda id: head(id, 0) + whole(id + 2), connection(PROTOCOL_ERROR))
row("5.1", "idle: DATA", lambda id: frame(DATA, END_STREAM, 2, b"test"), connection(PROTOCOL_ERROR))
row("5.1", "idle: HEADERS", lambda id: whole(2), connection(PROTOCOL_ERROR))
row("5.1", "idle: RST_STREAM", lambda id: reset(2), connection(PROTOCOL_ERROR))
row("5.1", "idle: WINDOW_UPDATE", lambda id: frame(WINDOW_UPDATE, 0, 2, u32(100)), connection(PROTOCOL_ERROR))
row("5.1", "idle: CONTINUATION", lambda id: frame(CONTINUATION, END_HEADERS, 2, OK), connection(PROTOCOL_ERROR))
row("5.1", "reset: DATA", lambda id: head(id) + reset(id) + frame(DATA, END_STREAM, id, b"test"), stream(STREAM_CLOSED))
row("5.1", "reset: HEADERS", lambda id: head(id) + reset(id) + whole(id), stream(STREAM_CLOSED))
row("5.1", "reset: CONTINUATION", lambda id: head(id) + reset(id) + frame(CONTINUATION, END_HEADERS, id, values(1)), stream(STREAM_CLOSED, PROTOCOL_ERROR))
row("5.1", "closed: DATA", lambda id: whole(id) + frame(DATA, END_STREAM, id, b"test"), connection(STREAM_CLOSED))
row("5.1", "closed: HEADERS", lambda id: whole(id) * 2, connection(STREAM_CLOSED))
row("5.1", "closed: CONTINUATION", lambda id: whole(id) + frame(CONTINUATION, END_HEADERS, id, values(1)), connection(STREAM_CLOSED, PROTOCOL_ERROR))
row("5.1", "closed: WINDOW_UPDATE is taken", lambda id: whole(id) + frame(WINDOW_UPDATE, 0, id, u32(1)), alive)
row("5.1", "closed: RST_STREAM is taken", lambda id: whole(id) + reset(id), alive)
row("5.1.1", "an identifier that was not asked on", lambda id: whole(101), connection(PROTOCOL_ERROR))
row("5.4.1", "PING on a stream ends the connection", lambda id: frame(PING, 0, 3, b"x" * 8), lambda c: c.closed())
row("5.5", "an unknown type within a block", lambda id: head(id, END_STREAM) + frame(0x16, 0, 0, b"x" * 8), connection(PROTOCOL_ERROR))
row("6.1", "DATA on stream 0", lambda id: frame(DATA, END_STREAM, 0, b"test"), connection(PROTOCOL_ERROR))
row("6.1", "DATA whose padding is more than there is", lambda id: head(id, END_HEADERS, OK + literal("content-length", "4")) + frame(DATA, END_STREAM | PADDED, id, b"\x06Test"), stream(PROTOCOL_ERROR))
row("6.2", "HEADERS on stream 0", lambda id: whole(0), connection(PROTOCOL_ERROR))
row("6.2", "HEADERS whose padding is more than there is", lambda id: head(id, END_HEADERS | END_STREAM | PADDED, bytes([len(OK) + 2]) + OK), stream(PROTOCOL_ERROR))
row("6.3", "PRIORITY on stream 0", lambda id: frame(PRIORITY, 0, 0, priority(0)), connection(PROTOCOL_ERROR))
row("6.3", "PRIORITY of four bytes", lambda id: whole(id) + frame(PRIORITY, 0, id, b"\x80\x00\x00\x01"), stream(FRAME_SIZE_ERROR))
row("6.4", "RST_STREAM on stream 0", lambda id: reset(0), connection(PROTOCOL_ERROR))
row("6.4", "RST_STREAM of three bytes", lambda id: whole(id) + frame(RST_STREAM, 0, id, b"\x00" * 3), stream(FRAME_SIZE_ERROR))
row("6.5", "SETTINGS with ACK and a payload", lambda id: frame(SETTINGS, ACK, 0, b"\x00"), connection(FRAME_SIZE_ERROR))
row("6.5", "SETTINGS on a stream", lambda id: frame(SETTINGS, 0, 1, struct.pack(">HI", MAX_STREAMS, 100)), connection(PROTOCOL_ERROR))
row("6.5", "SETTINGS of three bytes", lambda id: frame(SETTINGS, 0, 0, b"\x00\x03\x00"), connection(FRAME_SIZE_ERROR))
row("6.5.2", "ENABLE_PUSH of 1", lambda id: settings((ENABLE_PUSH, 1)), connection(PROTOCOL_ERROR))
row("6.5.2", "INITIAL_WINDOW_SIZE above 2^31-1", lambda id: settings((WINDOW_SIZE, 1 << 31)), connection(FLOW_CONTROL_ERROR))
row("6.5.2", "MAX_FRAME_SIZE below 2^14", lambda id: settings((FRAME_SIZE, 16383)), connection(PROTOCOL_ERROR))
row("6.5.2", "MAX_FRAME_SIZE above 2^24-1", lambda id: settings((FRAME_SIZE, 1 << 24)), connection(PROTOCOL_ERROR))
row("6.5.2", "an unknown setting is ignored", lambda id: settings((0xff, 1)), alive)
row("6.5.3", "SETTINGS are acknowledged", lambda id: settings((ENABLE_PUSH, 0)), lambda c: c.acknowledged())
row("6.6", "PUSH_PROMISE, which nobody asked for", lambda id: frame(PUSH_PROMISE, END_HEADERS, id, u32(2) + literal(":method", "GET")), connection(PROTOCOL_ERROR))
row("6.7", "PING is answered with its payload", lambda id: b"", alive)
row("6.7", "PING on a stream", lambda id: frame(PING, 0, 1, b"x" * 8), connection(PROTOCOL_ERROR))
row("6.7", "PING of six bytes", lambda id: frame(PING, 0, 0, b"x" * 6), connection(FRAME_SIZE_ERROR))
row("6.8", "GOAWAY on a stream", lambda id: frame(GOAWAY, 0, 1, u32(0) + u32(0)), connection(PROTOCOL_ERROR))
row("6.9", "WINDOW_UPDATE of 0 for the connection", lambda id: frame(WINDOW_UPDATE, 0, 0, u32(0)), connection(PROTOCOL_ERROR))
row("6.9", "WINDOW_UPDATE of 0 for a stream", lambda id: head(id) + frame(WINDOW_UPDATE, 0, id, u32(0)), stream(PROTOCOL_ERROR))
row("6.9", "WINDOW_UPDATE of three bytes", lambda id: frame(WINDOW_UPDATE, 0, 0, b"\x00\x00\x01"), connection(FRAME_SIZE_ERROR))
row("6.9.1", "the connection's window past 2^31-1", lambda id: frame(WINDOW_UPDATE, 0, 0, u32((1 << 31) - 1)) * 2, lambda c: flow_control(c.frame_of(GOAWAY)))
row("6.9.1", "a stream's window past 2^31-1", lambda id: head(id) + frame(WINDOW_UPDATE, 0, id, u32((1 << 31) - 1)) * 2, lambda c: flow_control(c.frame_of(RST_STREAM)))
row("6.10", "two CONTINUATIONs", lambda id: head(id, END_STREAM) + frame(CONTINUATION, 0, id, values(1)) + frame(CONTINUATION, END_HEADERS, id, values(1)), alive)
row("6.10", "CONTINUATION followed by DATA", lambda id: head(id, 0) + frame(CONTINUATION, 0, id, values(1)) + frame(DATA, END_STREAM, id, b"test"), connection(PROTOCOL_ERROR))
row("6.10", "CONTINUATION on stream 0", lambda id: head(id, END_STREAM) + frame(CONTINUATION, END_HEADERS, 0, values(1)), connection(PROTOCOL_ERROR))
row("6.10", "CONTINUATION behind a whole block", lambda id: whole(id) + frame(CONTINUATION, END_HEADERS, id, values(1)), connection(PROTOCOL_ERROR))
row("6.10", "CONTINUATION behind a whole CONTINUATION", lambda id: head(id, END_STREAM) + frame(CONTINUATION, END_HEADERS, id, values(1)) * 2, connection(PROTOCOL_ERROR))
for fact, block in {
    "no :status": literal("x-test", "ok"),
    "two :status": OK * 2,
    "a pseudo-field of requests": OK + literal(":path", "/"),
    "a pseudo-field behind a field": literal("x-test", "ok") + OK,
    "status 101": literal(":status", "101"),
    "an upper-case name": OK + literal("X-TEST", "ok"),
    "connection": OK + literal("connection", "keep-alive"),
    "a value with a line feed": OK + literal("x-test", "a\nb"),
    "a content-length that is not reached": OK + literal("content-length", "3"),
}.items():
    row("8.1.1", f"an answer with {fact}", lambda id, block=block: head(id, END_HEADERS | END_STREAM, block), stream(PROTOCOL_ERROR))
row("8.1", "a second block without END_STREAM", lambda id: head(id) + frame(DATA, 0, id, b"test") + head(id, END_HEADERS, literal("x-test", "ok")), stream(PROTOCOL_ERROR))


def flow_control(event):
    assert event.code() == FLOW_CONTROL_ERROR, event
