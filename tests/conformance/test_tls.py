"""A sandbox of its own with --tls: other people's clients trust it by AWS_CA_BUNDLE, and only so."""

import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import urllib.parse
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import SSLError

from conftest import Started
from datachannel import open_exec
from world import World

QUICK = Config(connect_timeout=10, read_timeout=30, retries={"total_max_attempts": 1})


@pytest.fixture(scope="module")
def secure(bowline):
    """The environment of a sandbox that speaks TLS."""
    with tempfile.TemporaryDirectory(prefix="bowline-conformance-") as place:
        sandbox = Started(bowline, place, "--tls")
        try:
            yield sandbox.env
        finally:
            sandbox.stop()


@pytest.fixture
def make_secure_client(secure):
    """boto3 clients for it; the bundle comes from where a user's would, the environment."""

    def make(service, *, config=None, **changes):
        settings = {
            "endpoint_url": secure["AWS_ENDPOINT_URL"],
            "region_name": secure["AWS_DEFAULT_REGION"],
            "aws_access_key_id": secure["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": secure["AWS_SECRET_ACCESS_KEY"],
            **changes,
        }
        return boto3.client(service, config=QUICK.merge(config) if config else QUICK, **settings)

    return make


def test_boto3_trusts_the_bundle_of_the_environment(secure, make_secure_client, monkeypatch):
    assert secure["AWS_ENDPOINT_URL"].startswith("https://127.0.0.1:")
    monkeypatch.setenv("AWS_CA_BUNDLE", secure["AWS_CA_BUNDLE"])
    assert make_secure_client("sts").get_caller_identity()["Account"]
    port = urllib.parse.urlsplit(secure["AWS_ENDPOINT_URL"]).port
    named = make_secure_client("ecs", endpoint_url=f"https://localhost:{port}")
    assert named.list_clusters()["clusterArns"]


def test_boto3_refuses_without_it(make_secure_client):
    assert "AWS_CA_BUNDLE" not in os.environ
    with pytest.raises(SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        make_secure_client("sts").get_caller_identity()


@pytest.mark.parametrize("bundle", [True, False])
def test_the_aws_cli(secure, bundle, tmp_path):
    env = {**secure, "HOME": str(tmp_path), "PATH": str(tmp_path), "LANG": "C.UTF-8", "AWS_PAGER": ""}
    if not bundle:
        del env["AWS_CA_BUNDLE"]
    program = Path(sys.executable).with_name("aws")
    words = [sys.executable, str(program), "ecs", "list-clusters"]
    done = subprocess.run(words, env=env, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
    if bundle:
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["clusterArns"]
    else:
        assert done.returncode != 0
        assert b"CERTIFICATE_VERIFY_FAILED" in done.stderr


def test_the_strictest_checks_of_openssl_pass(secure):
    context = ssl.create_default_context(cafile=secure["AWS_CA_BUNDLE"])
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    port = urllib.parse.urlsplit(secure["AWS_ENDPOINT_URL"]).port
    for name in ("127.0.0.1", "::1", "localhost"):
        with socket.create_connection(("127.0.0.1", port), 10) as tcp:
            with context.wrap_socket(tcp, server_hostname=name) as tls:
                assert tls.version() in ("TLSv1.2", "TLSv1.3")
    with socket.create_connection(("127.0.0.1", port), 10) as tcp:
        with pytest.raises(ssl.SSLCertVerificationError):
            context.wrap_socket(tcp, server_hostname="example.com")


def test_a_session_over_wss(secure, make_secure_client, monkeypatch):
    monkeypatch.setenv("AWS_CA_BUNDLE", secure["AWS_CA_BUNDLE"])
    world = World(secure, make_secure_client)
    task = world.web_task()["taskArn"]
    answer = world.ecs.execute_command(cluster="demo", task=task, command="echo over-tls", interactive=True)
    assert answer["session"]["streamUrl"].startswith("wss://127.0.0.1:")
    with pytest.raises(ssl.SSLCertVerificationError):
        open_exec(answer)
    with open_exec(answer, sslopt={"ca_certs": secure["AWS_CA_BUNDLE"]}) as channel:
        output, _ = channel.until_closed()
    assert output == b"over-tls\r\n"
