"""The data channel, judged by a client written from the protocol's description (datachannel.py)."""

import re
import time
import uuid

import pytest
import websocket

from datachannel import (
    ACKNOWLEDGE,
    INPUT_STREAM,
    OUTPUT,
    Channel,
    Closed,
    Frame,
    acknowledgement,
    open_exec,
)
from world import ssm_target

# Made by the reference programs' own serializers with fixed ids and times.
INPUT_LS = (
    "00000074696e7075745f73747265616d5f6461746120202020202020202020202020202000000001"
    "0000018bcfe5680000000000000000070000000000000000855666778899aa01dd01020111224334"
    "1d887ce0f8672e4914d9000e801cd74ecd805dd9366c0bc42dc16adc0197dc2f0000000100000003"
    "6c730d"
)


def test_the_judge_itself_matches_the_reference_bytes():
    frame = Frame.decode(bytes.fromhex(INPUT_LS))
    assert frame.message_type == INPUT_STREAM
    assert (frame.sequence, frame.flags, frame.payload_type) == (7, 0, OUTPUT)
    assert frame.created == 1700000000000
    assert frame.message_id == uuid.UUID("dd010201-1122-4334-8556-66778899aa01")
    assert frame.payload == b"ls\r"
    assert frame.encode().hex() == INPUT_LS


def test_output_and_normal_end(sessions):
    with open_exec(sessions.execute('sh -c "echo hello; exit 3"')) as channel:
        output, closed = channel.until_closed()
    assert output == b"hello\r\n"  # a terminal ends lines with CR LF
    assert not closed.get("Output")


def test_frames_keep_every_rule(world, sessions):
    task = world.web_task()
    answer = sessions.execute('sh -c "read x; seq 1 20000; exit 3"', task)
    with open_exec(answer) as channel:
        numbers = [channel.size(80, 24), channel.send(b"go\r")]
        _, closed = channel.until_closed()

    frames = channel.stream_frames()  # decode() has checked lengths, padding, digests
    firsts = list({frame.sequence: frame for frame in frames}.values())
    assert sorted(frame.sequence for frame in firsts) == list(range(len(firsts)))
    assert len(firsts) > 1
    for frame in frames:
        assert frame.flags == (1 if frame.sequence == 0 else 0)
        assert frame.payload_type == OUTPUT
        assert abs(frame.created / 1000 - time.time()) < 120
    assert len({frame.message_id for frame in firsts}) == len(firsts)

    acknowledged = {content["AcknowledgedMessageSequenceNumber"] for _, content in channel.acks}
    assert acknowledged == set(numbers)
    for frame, content in channel.acks:
        assert (frame.sequence, frame.flags, frame.payload_type) == (0, 3, 0)
        assert set(content) == {
            "AcknowledgedMessageType",
            "AcknowledgedMessageId",
            "AcknowledgedMessageSequenceNumber",
            "IsSequentialMessage",
        }
        assert content["AcknowledgedMessageType"] == INPUT_STREAM
        assert content["IsSequentialMessage"] is True
        uuid.UUID(content["AcknowledgedMessageId"])

    assert closed["MessageType"] == "channel_closed"
    assert closed["SessionId"] == answer["session"]["sessionId"]
    assert closed["DestinationId"] == ssm_target(task)
    assert isinstance(closed["CreatedDate"], str)
    assert isinstance(closed["SchemaVersion"], int)
    uuid.UUID(closed["MessageId"])


def test_long_output_is_whole_and_in_order(sessions):
    with open_exec(sessions.execute("seq 1 40000")) as channel:
        output, _ = channel.until_closed(120)
    assert output == b"".join(b"%d\r\n" % n for n in range(1, 40001))


def test_size_is_honoured(sessions):
    with open_exec(sessions.execute('sh -c "read x; stty size"')) as channel:
        channel.until_acked(channel.size(132, 43))
        channel.send(b"\r")
        output, _ = channel.until_closed()
    assert output.endswith(b"43 132\r\n")


def test_input_is_echoed_by_the_terminal(sessions):
    with open_exec(sessions.execute("cat")) as channel:
        channel.send(b"abc\r")
        channel.until_output(b"abc\r\nabc\r\n")  # once from the terminal, once from cat
        channel.send(b"\x04")
        output, closed = channel.until_closed()
    assert output == b"abc\r\nabc\r\n"
    assert not closed.get("Output")


def test_control_c_interrupts(sessions):
    command = "sh -c \"sleep 600 >/dev/null 2>&1 & trap 'echo caught; kill %1; exit 0' INT; echo ready; wait\""
    with open_exec(sessions.execute(command)) as channel:
        channel.until_output(b"ready\r\n")
        channel.send(b"\x03")
        output, _ = channel.until_closed()
    assert b"caught\r\n" in output


def test_words_are_split_without_a_shell(sessions):
    command = """printf '[%s]' a\\ b 'c $HOME' "d \\"e\\"" * '|' '' # not here"""
    with open_exec(sessions.execute(command)) as channel:
        output, _ = channel.until_closed()
    assert output == b'[a b][c $HOME][d "e"][*][|][]'


def test_disordered_and_repeated_input_arrives_once_and_is_acknowledged(sessions):
    with open_exec(sessions.execute("cat")) as channel:
        frames = [Frame(INPUT_STREAM, text, OUTPUT, n) for n, text in enumerate((b"on", b"e\r", b"two\r"))]
        channel.next_out = len(frames)
        for frame in reversed(frames):
            channel.send_frame(frame)
        for frame in frames:
            channel.until_acked(frame.sequence)
        channel.until_output(b"two\r\n")
        before = len(channel.acks)
        channel.send_frame(frames[0])
        channel.until("a second ack of a repeated frame", lambda: len(channel.acks) > before)
        assert channel.acks[-1][1]["AcknowledgedMessageSequenceNumber"] == 0
        channel.send(b"\x04")
        output, _ = channel.until_closed()
    assert output.count(b"one\r\n") == 2 and output.count(b"two\r\n") == 2
    assert output.index(b"one") < output.index(b"two")


def test_unacknowledged_output_is_sent_again(sessions):
    answer = sessions.execute('sh -c "echo once; sleep 600"')
    with open_exec(answer) as channel:
        seen = []

        def silent(frame):
            channel.frames.append(frame)
            if frame.message_type not in (ACKNOWLEDGE, "channel_closed"):
                seen.append(frame)

        channel.receive = silent
        channel.until("a frame that was never acknowledged comes again", lambda: len(seen) >= 2)
        assert seen[0] == seen[1], "a resent frame is identical"
        channel.socket.send_binary(acknowledgement(seen[0]).encode())


def test_a_command_that_cannot_start_is_told_in_channel_closed(sessions):
    with open_exec(sessions.execute("nope-nope --help")) as channel:
        output, closed = channel.until_closed()
    assert output == b""
    assert (
        'Unable to start command: Failed to start pty: exec: "nope-nope": executable file not found in $PATH'
        in closed["Output"]
    )


def test_a_shell_by_start_session(world, sessions):
    answer = sessions.start(Target=ssm_target(world.web_task()))
    with Channel(answer["StreamUrl"], answer["TokenValue"]) as channel:
        channel.size(200, 50)
        channel.send(b"echo $((6*7))-$TERM; exit\r")
        output, closed = channel.until_closed()
    assert re.search(rb"^(?:[$#] )?42-xterm-256color\r$", output, re.MULTILINE)
    assert not closed.get("Output")


def test_a_terminated_session_is_told(world, sessions):
    answer = sessions.execute('sh -c "echo pid=$$; sleep 600"')
    with open_exec(answer) as channel:
        channel.until_output(b"\r\n")
        world.ssm.terminate_session(SessionId=answer["session"]["sessionId"])
        _, closed = channel.until_closed()
    assert closed["SessionId"] == answer["session"]["sessionId"]


def test_a_used_token_is_refused(sessions):
    session = sessions.execute("cat")["session"]
    with open_exec({"session": session}) as channel:
        channel.send(b"mine\r")
        channel.until_output(b"mine\r\nmine\r\n")
        assert_refused(session["streamUrl"], session["tokenValue"])
        channel.send(b"still\r")  # the first holder is unharmed
        channel.until_output(b"still\r\nstill\r\n")
    assert_refused(session["streamUrl"], session["tokenValue"])


def test_a_foreign_token_and_no_token_are_refused(sessions):
    url = sessions.execute("cat")["session"]["streamUrl"]
    other = sessions.execute("cat")["session"]["tokenValue"]
    assert_refused(url, other)
    assert_refused(url, str(uuid.uuid4()))
    assert_refused(url, "")


def test_resume_gives_a_new_token_and_keeps_the_numbers(world, sessions):
    session = sessions.execute("cat")["session"]
    channel = open_exec({"session": session})
    channel.send(b"before\r")
    channel.until_output(b"before\r\nbefore\r\n")
    used = channel.expected
    channel.drop()

    resumed = world.ssm.resume_session(SessionId=session["sessionId"])
    assert resumed["SessionId"] == session["sessionId"]
    assert resumed["TokenValue"] != session["tokenValue"]
    with Channel(resumed["StreamUrl"], resumed["TokenValue"], resumed=channel) as channel:
        assert channel.send(b"after\r") == 1
        channel.until_output(b"after\r\nafter\r\n")
        channel.send(b"\x04")
        output, _ = channel.until_closed()
        assert output == b"before\r\nbefore\r\nafter\r\nafter\r\n"
        assert {used, used + 1} & {frame.sequence for frame in channel.stream_frames()}
        assert all(frame.flags == (frame.sequence == 0) for frame in channel.stream_frames())


def test_output_made_while_the_socket_was_away_is_not_lost(world, sessions):
    session = sessions.execute('sh -c "echo first; read x; seq 1 3000; sleep 600"')["session"]
    channel = open_exec({"session": session})
    channel.until_output(b"first\r\n")
    channel.until_acked(channel.send(b"\r"))
    channel.drop()
    resumed = world.ssm.resume_session(SessionId=session["sessionId"])
    with Channel(resumed["StreamUrl"], resumed["TokenValue"], resumed=channel) as channel:
        expected = b"".join(b"%d\r\n" % n for n in range(1, 3001))
        channel.until_output(expected, 120)
        assert bytes(channel.output).count(expected) == 1


def assert_refused(url, token):
    """No session bytes for this token: the upgrade or the socket is refused, promptly."""
    try:
        with Channel(url, token) as intruder:
            with pytest.raises((Closed, BrokenPipeError)):
                intruder.until("refusal", lambda: False, 10)
            assert intruder.stream_frames() == []
            assert intruder.acks == []
    except websocket.WebSocketBadStatusException as error:
        assert 400 <= error.status_code < 500, error
