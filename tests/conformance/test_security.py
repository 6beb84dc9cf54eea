"""The sandbox runs commands, so it must refuse everybody but its own user."""

import json
import os
import socket
import stat
import urllib.parse

import botocore.auth
import pytest
import websocket
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError

from datachannel import Channel, open_exec

FOREIGN = "http://evil.example"
LIST = json.dumps({"cluster": "demo"})


def assert_no_answer(status, body):
    assert 400 <= status < 500, (status, body)
    assert b"taskArns" not in body


def test_the_env_file_is_private_and_complete(started, sandbox_env):
    if started is not None:
        assert stat.S_IMODE(os.stat(started.env_file).st_mode) == 0o600
        assert "unset AWS_PROFILE" in started.env_file.read_text()
        assert started.log.read_text().count("export ") >= 8, "the same lines are on standard output"
    assert sandbox_env["BOWLINE_ENDPOINT"] == sandbox_env["AWS_ENDPOINT_URL"]
    assert sandbox_env["AWS_REGION"] == sandbox_env["AWS_DEFAULT_REGION"]
    assert sandbox_env["AWS_EC2_METADATA_DISABLED"] == "true"
    assert sandbox_env["AWS_DISABLE_HOST_PREFIX_INJECTION"] == "true"
    assert urllib.parse.urlsplit(sandbox_env["BOWLINE_ENDPOINT"]).hostname in ("127.0.0.1", "localhost", "::1")


def test_it_listens_on_loopback_only(world):
    """A connection to any other address of this machine finds nobody."""
    port = urllib.parse.urlsplit(world.endpoint).port
    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        probe.connect(("192.0.2.1", 9))  # documentation address; a datagram socket sends nothing here
        outward = probe.getsockname()[0]
    except OSError:
        outward = None  # no route: loopback is all there is
    finally:
        probe.close()
    if outward is None or outward.startswith("127."):
        assert not listens_beyond_loopback(port)
        return
    with pytest.raises(OSError):
        socket.create_connection((outward, port), timeout=5).close()


def listens_beyond_loopback(port):
    """Reads the kernel's table of listening sockets."""
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    listening = [row[1] for row in rows if row[3] == "0A"]
    return any(a.endswith(f":{port:04X}") and not a.startswith("0100007F") for a in listening)


def test_the_judge_is_let_in(world):
    status, _, body = world.raw_ecs("ListTasks", LIST)
    assert status == 200 and b"taskArns" in body


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "stream-evil.example"])
def test_a_foreign_host_is_refused_even_when_signed(world, host):
    status, _, body = world.raw_ecs("ListTasks", LIST, host=host)
    assert_no_answer(status, body)


@pytest.mark.parametrize("prefix", ["", "stream-", "streaming-"])
def test_loopback_names_and_their_stream_prefixes_are_let_in(world, prefix):
    port = urllib.parse.urlsplit(world.endpoint).port
    for name in ("127.0.0.1", "localhost"):
        status, _, body = world.raw_ecs("ListTasks", LIST, host=f"{prefix}{name}:{port}")
        assert status == 200, body


@pytest.mark.parametrize("origin", [FOREIGN, "https://127.0.0.1.evil.example", "null"])
def test_a_foreign_origin_is_refused_even_when_signed(world, origin):
    status, _, body = world.raw_ecs("ListTasks", LIST, headers={"Origin": origin})
    assert_no_answer(status, body)


def test_an_unsigned_request_is_refused(world):
    status, _, body = world.raw_ecs("ListTasks", LIST, sign=False)
    assert_no_answer(status, body)
    status, _, body = world.raw("AmazonSSM.DescribeSessions", '{"State":"Active"}', sign=False)
    assert_no_answer(status, body)


def test_a_changed_body_is_refused(world):
    status, _, body = world.raw_ecs("ListTasks", LIST, send_body=LIST.replace("demo", "omed").encode())
    assert_no_answer(status, body)
    assert b"InvalidSignatureException" in body


@pytest.mark.parametrize("service", ["ecs", "ssm", "sts"])
def test_a_wrong_secret_is_refused(world, make_client, service):
    client = make_client(service, aws_secret_access_key="x" * 40)
    error = refused(client, service)
    assert error["Code"] in ("InvalidSignatureException", "SignatureDoesNotMatch")


@pytest.mark.parametrize("service", ["ecs", "ssm", "sts"])
def test_an_unknown_key_is_refused(make_client, service):
    client = make_client(service, aws_access_key_id="AKIAIOSFODNN7EXAMPLE")
    error = refused(client, service)
    assert error["Code"] in ("UnrecognizedClientException", "InvalidClientTokenId")


def refused(client, service):
    call = {
        "ecs": lambda: client.list_clusters(),
        "ssm": lambda: client.describe_sessions(State="Active"),
        "sts": lambda: client.get_caller_identity(),
    }[service]
    with pytest.raises(ClientError) as caught:
        call()
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == (403 if service == "sts" else 400)
    return response["Error"]


def test_an_old_signature_is_refused(world, monkeypatch):
    real = botocore.auth.get_current_datetime
    monkeypatch.setattr(
        botocore.auth, "get_current_datetime", lambda *a, **k: real(*a, **k).replace(year=2020)
    )
    status, _, body = world.raw_ecs("ListTasks", LIST)
    assert_no_answer(status, body)


# The websocket upgrade. An invented signature is worse than none.

MADE_UP_SIGNATURE = [
    "Authorization: AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/ssmmessages/aws4_request, "
    "SignedHeaders=host;x-amz-date, Signature=00",
    "X-Amz-Date: 20260101T000000Z",
]


def upgrade(url, **options):
    options.setdefault("suppress_origin", True)
    connection = websocket.create_connection(url, timeout=10, **options)
    connection.shutdown()


@pytest.mark.parametrize(
    "options",
    [
        {"suppress_origin": False, "origin": FOREIGN},
        {"suppress_origin": False, "origin": "null"},
        {"host": "evil.example"},
        {"header": MADE_UP_SIGNATURE},
    ],
    ids=["foreign-origin", "null-origin", "foreign-host", "bad-signature"],
)
def test_an_upgrade_is_refused(sessions, options):
    url = sessions.execute("cat")["session"]["streamUrl"]
    with pytest.raises(websocket.WebSocketBadStatusException) as caught:
        upgrade(url, **options)
    assert 400 <= caught.value.status_code < 500


def test_a_refused_upgrade_does_not_spend_the_token(sessions):
    answer = sessions.execute('sh -c "echo mine"')
    with pytest.raises(websocket.WebSocketBadStatusException):
        upgrade(answer["session"]["streamUrl"], suppress_origin=False, origin=FOREIGN)
    with open_exec(answer) as channel:
        output, _ = channel.until_closed()
    assert output == b"mine\r\n"


def test_an_unsigned_upgrade_passes_with_its_token(sessions):
    with open_exec(sessions.execute('sh -c "echo in"')) as channel:
        assert channel.until_closed()[0] == b"in\r\n"


def signed_headers(world, url, **changes):
    """What a current plugin signs: host and x-amz-date, an empty body, the query form-decoded."""
    parts = urllib.parse.urlsplit(url)
    request = AWSRequest(
        method="GET",
        url=f"http://{parts.netloc}{parts.path}",
        params=dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True)),
        headers={"Host": parts.netloc},
    )
    SigV4Auth(world.credentials(**changes), "ssmmessages", world.region).add_auth(request)
    names = ("Authorization", "X-Amz-Date", "X-Amz-Security-Token")
    return [f"{name}: {request.headers[name]}" for name in names if request.headers.get(name)]


def test_a_signed_upgrade_passes_with_its_token(world, sessions):
    session = sessions.execute('sh -c "echo in"')["session"]
    headers = signed_headers(world, session["streamUrl"])
    with Channel(session["streamUrl"], session["tokenValue"], header=headers) as channel:
        assert channel.until_closed()[0] == b"in\r\n"


def test_an_upgrade_signed_with_another_secret_is_refused(world, sessions):
    url = sessions.execute("cat")["session"]["streamUrl"]
    with pytest.raises(websocket.WebSocketBadStatusException) as caught:
        upgrade(url, header=signed_headers(world, url, secret_key="x" * 40))
    assert 400 <= caught.value.status_code < 500


def test_cell_number_is_raw_base64(sessions):
    """Real ones hold `+` and `/` unescaped: a client that re-encodes the URL must be found out here."""
    query = urllib.parse.urlsplit(sessions.execute("true")["session"]["streamUrl"]).query
    fields = dict(field.split("=", 1) for field in query.split("&"))
    assert "+" in fields["cell-number"] and "/" in fields["cell-number"]
    assert "%" not in fields["cell-number"]


def test_the_servers_own_environment_does_not_leak(sessions):
    """The judge starts the sandbox with BOWLINE_CONFORMANCE_LEAK set."""
    with open_exec(sessions.execute("env")) as channel:
        output, _ = channel.until_closed()
    assert b"TERM=xterm-256color\r\n" in output
    assert b"BOWLINE_CONFORMANCE_LEAK" not in output
    assert b"AWS_SECRET_ACCESS_KEY" not in output
