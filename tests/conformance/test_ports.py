"""Port sessions, judged by a smux client written from the protocol's description alone.

The offsets, commands and ids are those of smux protocol version 1, whose header is little-endian.
"""

import struct

import pytest

from datachannel import (
    CONNECT_TO_PORT_ERROR,
    DISCONNECT_TO_PORT,
    FLAG,
    TERMINATE_SESSION,
    Channel,
)
from world import ssm_target

WEB = "8080"
DATABASE = {"host": ["db.demo.internal"], "portNumber": ["5432"]}
GET = b"GET / HTTP/1.0\r\nHost: web\r\n\r\n"

SYN, FIN, PSH, NOP = range(4)
SMUX = struct.Struct("<BBHI")


class Mux:
    """The client's end of smux over a channel: streams have odd ids from 3."""

    def __init__(self, channel):
        self.channel = channel
        self.next_id = 3
        self.read = 0  # how much of the channel's output was taken apart
        self.data = {}
        self.ended = set()

    def open(self, first=b""):
        stream, self.next_id = self.next_id, self.next_id + 2
        self.data[stream] = bytearray()
        self.send(SYN, stream)
        if first:
            self.send(PSH, stream, first)
        return stream

    def send(self, command, stream, data=b""):
        self.channel.send(SMUX.pack(1, command, len(data), stream) + data)

    def take(self):
        """Takes apart what has come, and insists on every rule."""
        output = self.channel.output
        while len(output) - self.read >= SMUX.size:
            version, command, length, stream = SMUX.unpack_from(output, self.read)
            assert version == 1 and command in (FIN, PSH, NOP), (version, command)
            assert length == 0 or command == PSH
            if len(output) - self.read < SMUX.size + length:
                return
            start = self.read + SMUX.size
            self.read = start + length
            if command == NOP:
                assert stream == 0
                continue
            assert stream in self.data, f"a frame for stream {stream}, which was never opened"
            assert stream not in self.ended, f"something after the end of stream {stream}"
            if command == FIN:
                self.ended.add(stream)
            else:
                assert length <= 32768
                self.data[stream] += output[start : self.read]

    def until_ended(self, *streams):
        def done():
            self.take()
            return self.ended.issuperset(streams)

        self.channel.until(f"the end of streams {streams}", done)
        return [bytes(self.data[stream]) for stream in streams]

    def until_data(self, stream, amount):
        def done():
            self.take()
            return len(self.data[stream]) >= amount

        self.channel.until(f"{amount} bytes on stream {stream}", done)
        return bytes(self.data[stream])


@pytest.fixture
def port(world, sessions):
    """Opens a port session and waits for the end of its handshake."""
    opened = []

    def start(parameters, document="AWS-StartPortForwardingSession", **options):
        answer = sessions.start(
            Target=ssm_target(world.web_task()), DocumentName=document, Parameters=parameters
        )
        channel = Channel(answer["StreamUrl"], answer["TokenValue"], **options)
        opened.append(channel)
        channel.until("the handshake's end", lambda: channel.complete is not None)
        return channel

    yield start
    for channel in opened:
        channel.drop()


def remote(port, **options):
    return port(DATABASE, "AWS-StartPortForwardingSessionToRemoteHost", **options)


def test_the_handshake_says_which_port(port):
    channel = port({"portNumber": [WEB], "localPortNumber": ["0"]})
    [action] = channel.handshake["RequestedClientActions"]
    assert action["ActionType"] == "SessionType"
    parameters = action["ActionParameters"]
    assert parameters["SessionType"] == "Port"
    properties = parameters["Properties"]
    assert properties["portNumber"] == WEB and properties["type"] == "LocalPortForwarding"
    assert all(isinstance(value, str) for value in properties.values())
    assert isinstance(channel.complete["HandshakeTimeToComplete"], int)

    properties = remote(port).handshake["RequestedClientActions"][0]["ActionParameters"]["Properties"]
    assert (properties["host"], properties["portNumber"]) == ("db.demo.internal", "5432")


def test_streams_are_apart_and_each_has_its_end(port):
    channel = port({"portNumber": [WEB], "localPortNumber": ["0"]})
    mux = Mux(channel)
    silent = mux.open()
    answers = mux.until_ended(*[mux.open(GET) for _ in range(20)])
    for answer in answers:
        assert answer.startswith(b"HTTP/1.") and b"200" in answer.split(b"\r\n", 1)[0]
    assert silent not in mux.ended
    mux.send(PSH, silent, GET)
    assert mux.until_ended(silent)[0].startswith(b"HTTP/1.")
    assert channel.flags == []


def test_frames_may_be_cut_anywhere(port):
    channel = port({"portNumber": [WEB], "localPortNumber": ["0"]})
    mux = Mux(channel)
    mux.data[3] = bytearray()
    stream = SMUX.pack(1, SYN, 0, 3) + SMUX.pack(1, NOP, 0, 0) + SMUX.pack(1, PSH, len(GET), 3) + GET
    for at in range(0, len(stream), 3):
        channel.send(stream[at : at + 3])
    assert mux.until_ended(3)[0].startswith(b"HTTP/1.")


def test_a_remote_host_is_reached_through_the_task(port):
    """The demo database speaks PostgreSQL's protocol: a startup message, then one simple query."""
    mux = Mux(remote(port))
    startup = struct.pack(">I", 196608) + b"user\0demo\0\0"
    stream = mux.open(struct.pack(">I", len(startup) + 4) + startup)
    until = b"Z" + struct.pack(">I", 5) + b"I"
    while not mux.until_data(stream, 1).endswith(until):
        mux.until_data(stream, len(mux.data[stream]) + 1)
    query = b"select 1\0"
    mux.send(PSH, stream, b"Q" + struct.pack(">I", len(query) + 4) + query)
    before = len(mux.data[stream])
    while not (answer := mux.until_data(stream, before + 1)[before:]).endswith(until):
        mux.until_data(stream, before + len(answer) + 1)
    assert answer.startswith(b"T") and b"hello from db.demo.internal through task " in answer


def test_a_port_nobody_listens_on_ends_its_stream_and_not_the_session(port):
    channel = port({"portNumber": ["1"], "localPortNumber": ["0"]})
    mux = Mux(channel)
    first = mux.open(b"x")
    assert mux.until_ended(first) == [b""]
    channel.until("the flag", lambda: channel.flags)
    assert channel.flags == [CONNECT_TO_PORT_ERROR]
    second = mux.open(b"x")
    assert mux.until_ended(second) == [b""]


def test_the_terminate_flag_ends_the_session(port):
    channel = port({"portNumber": [WEB], "localPortNumber": ["0"]})
    channel.send(struct.pack(">I", TERMINATE_SESSION), FLAG)
    _, closed = channel.until_closed()
    assert not closed.get("Output")


def test_an_old_client_gets_one_plain_connection_after_the_other(port):
    channel = port({"portNumber": [WEB], "localPortNumber": ["0"]}, version="1.1.61.0")
    channel.send(GET)
    channel.until_output(b"HTTP/1.")
    channel.send(struct.pack(">I", DISCONNECT_TO_PORT), FLAG)
    taken = len(channel.output)
    channel.send(GET)
    channel.until("a second answer", lambda: b"HTTP/1." in channel.output[taken:])
