"""A minimal data-channel client written from the protocol's description alone.

It shares nothing with bowline: struct, hashlib and the `websocket-client` package.
"""

import dataclasses
import hashlib
import json
import struct
import time
import uuid

import websocket

# HeaderLength, MessageType, SchemaVersion, CreatedDate, SequenceNumber, Flags, MessageId,
# PayloadDigest, PayloadType, PayloadLength: all big-endian, 120 bytes, then the payload.
HEADER = struct.Struct(">I32sIQqQ16s32sII")
HEADER_LENGTH = 116  # the offset of PayloadLength, not the header's size

OUTPUT = 1
SIZE = 3
HANDSHAKE_REQUEST = 5
HANDSHAKE_RESPONSE = 6
HANDSHAKE_COMPLETE = 7
FLAG = 10

# What a message of type FLAG carries, as four big-endian bytes.
DISCONNECT_TO_PORT = 1
TERMINATE_SESSION = 2
CONNECT_TO_PORT_ERROR = 3

INPUT_STREAM = "input_stream_data"
OUTPUT_STREAM = "output_stream_data"
ACKNOWLEDGE = "acknowledge"
CHANNEL_CLOSED = "channel_closed"

RESEND_AFTER = 0.2


@dataclasses.dataclass
class Frame:
    """One binary message."""

    message_type: str
    payload: bytes
    payload_type: int = 0
    sequence: int = 0
    flags: int = 0
    created: int = dataclasses.field(default_factory=lambda: int(time.time() * 1000))
    message_id: uuid.UUID = dataclasses.field(default_factory=uuid.uuid4)

    def encode(self):
        canonical = self.message_id.bytes
        return (
            HEADER.pack(
                HEADER_LENGTH,
                self.message_type.encode().ljust(32, b" "),
                1,
                self.created,
                self.sequence,
                self.flags,
                canonical[8:] + canonical[:8],  # the two halves travel swapped
                hashlib.sha256(self.payload).digest(),
                self.payload_type,
                len(self.payload),
            )
            + self.payload
        )

    @classmethod
    def decode(cls, data):
        """Reads one message and insists on every rule a sender has to keep."""
        assert len(data) >= HEADER.size, f"a frame of {len(data)} bytes"
        length, kind, schema, created, sequence, flags, swapped, digest, payload_type, size = (
            HEADER.unpack_from(data)
        )
        payload = bytes(data[HEADER.size :])
        assert length == HEADER_LENGTH, f"HeaderLength {length}"
        assert kind == kind.rstrip(b" ").ljust(32, b" ") and b"\0" not in kind, f"MessageType {kind!r}"
        assert schema == 1, f"SchemaVersion {schema}"
        assert created != 0, "CreatedDate 0"
        assert size == len(payload), f"PayloadLength {size} of {len(payload)} bytes"
        assert payload, "a reference serializer cannot make an empty payload"
        assert digest == hashlib.sha256(payload).digest(), "PayloadDigest does not match"
        return cls(
            message_type=kind.decode("ascii").rstrip(" "),
            payload=payload,
            payload_type=payload_type,
            sequence=sequence,
            flags=flags,
            created=created,
            message_id=uuid.UUID(bytes=swapped[8:] + swapped[:8]),
        )


def acknowledgement(frame):
    content = {
        "AcknowledgedMessageType": frame.message_type,
        "AcknowledgedMessageId": str(frame.message_id),
        "AcknowledgedMessageSequenceNumber": frame.sequence,
        "IsSequentialMessage": True,
    }
    payload = json.dumps(content, separators=(",", ":")).encode()
    return Frame(ACKNOWLEDGE, payload, flags=3)


class Closed(Exception):
    """The socket ended without a channel_closed message."""


class Channel:
    """One end of a session. `resumed` carries the numbers of an earlier channel over to a new socket."""

    def __init__(self, url, token, *, resumed=None, version="1.2.835.0", **options):
        self.version = version
        self.client_id = resumed.client_id if resumed else str(uuid.uuid4())
        self.next_out = resumed.next_out if resumed else 0
        self.expected = resumed.expected if resumed else 0
        self.early = resumed.early if resumed else {}
        self.unacked = resumed.unacked if resumed else {}
        self.output = resumed.output if resumed else bytearray()
        self.frames = []  # every frame this socket brought
        self.acks = []  # (frame, content) of every acknowledgement
        self.handshake = None  # content of the handshake's request
        self.complete = None  # content of its end
        self.flags = []
        self.closed = None  # content of channel_closed
        options.setdefault("suppress_origin", True)
        self.socket = websocket.create_connection(url, timeout=10, **options)
        if token is not None:
            self.socket.send(
                json.dumps(
                    {
                        "MessageSchemaVersion": "1.0",
                        "RequestId": str(uuid.uuid4()),
                        "TokenValue": token,
                        "ClientId": self.client_id,
                        "ClientVersion": version,
                    }
                )
            )

    def send(self, payload, payload_type=OUTPUT):
        """Sends the next stream frame and remembers it until it is acknowledged. Returns its number."""
        frame = Frame(INPUT_STREAM, payload, payload_type, self.next_out)
        self.next_out += 1
        self.send_frame(frame)
        return frame.sequence

    def send_frame(self, frame):
        self.unacked[frame.sequence] = (time.monotonic(), frame)
        self.socket.send_binary(frame.encode())

    def size(self, cols, rows):
        return self.send(json.dumps({"cols": cols, "rows": rows}, separators=(",", ":")).encode(), SIZE)

    def until(self, what, done, seconds=30.0):
        """Serves the channel until `done()`; a channel_closed or a lost socket before that is a failure."""
        deadline = time.monotonic() + seconds
        while not done():
            assert self.closed is None, f"channel_closed while waiting for {what}: {self.closed}; {self.output!r}"
            assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}; {bytes(self.output)!r}"
            self.step()

    def until_output(self, wanted, seconds=30.0):
        self.until(f"output {wanted!r}", lambda: wanted in self.output, seconds)

    def until_acked(self, sequence, seconds=30.0):
        self.until(f"the ack of {sequence}", lambda: sequence not in self.unacked, seconds)

    def until_closed(self, seconds=30.0):
        """Serves the channel to its end and returns (output, content of channel_closed)."""
        deadline = time.monotonic() + seconds
        while self.closed is None:
            assert time.monotonic() < deadline, f"no channel_closed within {seconds:.0f} s; {bytes(self.output)!r}"
            self.step()
        assert not self.early, f"closed with a gap: {self.expected} missing, {sorted(self.early)} here"
        return bytes(self.output), self.closed

    def step(self):
        """Receives at most one message, or resends what is overdue."""
        self.socket.settimeout(0.1)
        try:
            opcode, data = self.socket.recv_data()
        except websocket.WebSocketTimeoutException:
            self.resend()
            return
        except (websocket.WebSocketConnectionClosedException, ConnectionError) as error:
            raise Closed(str(error)) from error
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            raise Closed(f"close frame {data!r}")
        assert opcode == websocket.ABNF.OPCODE_BINARY, f"opcode {opcode} from the service"
        self.receive(Frame.decode(data))

    def receive(self, frame):
        self.frames.append(frame)
        if frame.message_type == ACKNOWLEDGE:
            content = json.loads(frame.payload)
            self.acks.append((frame, content))
            self.unacked.pop(content["AcknowledgedMessageSequenceNumber"], None)
        elif frame.message_type == CHANNEL_CLOSED:
            self.closed = json.loads(frame.payload)
        elif frame.message_type == OUTPUT_STREAM:
            self.socket.send_binary(acknowledgement(frame).encode())
            if frame.sequence >= self.expected:
                self.early[frame.sequence] = frame
            while self.expected in self.early:
                ready = self.early.pop(self.expected)
                self.expected += 1
                self.deliver(ready)

    def deliver(self, frame):
        """Takes the next frame of the stream, in order."""
        if frame.payload_type == OUTPUT:
            self.output += frame.payload
        elif frame.payload_type == FLAG:
            self.flags.append(struct.unpack(">I", frame.payload)[0])
        elif frame.payload_type == HANDSHAKE_COMPLETE:
            self.complete = json.loads(frame.payload)
        elif frame.payload_type == HANDSHAKE_REQUEST:
            self.handshake = json.loads(frame.payload)
            done = [
                {"ActionType": action["ActionType"], "ActionStatus": 1, "ActionResult": None, "Error": ""}
                for action in self.handshake["RequestedClientActions"]
            ]
            answer = {"ClientVersion": self.version, "ProcessedClientActions": done, "Errors": None}
            self.send(json.dumps(answer, separators=(",", ":")).encode(), HANDSHAKE_RESPONSE)

    def resend(self):
        now = time.monotonic()
        for sequence, (sent, frame) in list(self.unacked.items()):
            if now - sent > RESEND_AFTER:
                self.unacked[sequence] = (now, frame)
                self.socket.send_binary(frame.encode())

    def drop(self):
        """Loses the socket, without a closing handshake."""
        self.socket.shutdown()

    def stream_frames(self):
        return [frame for frame in self.frames if frame.message_type == OUTPUT_STREAM]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.drop()


def open_exec(answer, **options):
    """Opens the channel of an ExecuteCommand answer."""
    session = answer["session"]
    return Channel(session["streamUrl"], session["tokenValue"], **options)
