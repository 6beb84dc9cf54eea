"""bowline against somebody else's server: moto, which speaks ECS but has no ExecuteCommand."""

import json
import logging
import subprocess
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import pytest
from moto.server import ThreadedMotoServer

KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture(scope="module")
def moto():
    """A moto server with clusters `prod` and `other`, twelve services in `prod`, one task."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = boto3.client(
        "ecs",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
    )
    try:
        for name in ("prod", "other"):
            client.create_cluster(clusterName=name)
        client.register_task_definition(
            family="web",
            containerDefinitions=[{"name": "app", "image": "none", "memory": 64, "essential": True}],
            requiresCompatibilities=["FARGATE"],
            networkMode="awsvpc",
            cpu="256",
            memory="512",
        )
        # Twelve: one more page than ListServices gives by default, and more than DescribeServices takes.
        for name in ["web"] + [f"svc-{n:02}" for n in range(11)]:
            client.create_service(cluster="prod", serviceName=name, taskDefinition="web", desiredCount=1)
        yield Moto(endpoint, client)
    finally:
        server.stop()


class Moto:
    def __init__(self, endpoint, client):
        self.endpoint = endpoint
        self.client = client


@pytest.fixture
def run(bowline, tmp_path):
    """Runs bowline against an endpoint and checks what must hold for every run."""

    def run(endpoint, *words):
        done = subprocess.run(
            [bowline, *words],
            env={**KEYS, "AWS_ENDPOINT_URL": endpoint, "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
        )
        assert b"panicked" not in done.stderr
        return done

    return run


def test_lists_clusters(moto, run):
    done = run(moto.endpoint, "ls", "clusters", "-o", "json")
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout)["clusters"]
    assert {cluster["clusterName"] for cluster in listed} == {"prod", "other"}


def test_lists_every_service_over_pages(moto, run):
    done = run(moto.endpoint, "ls", "services", "--cluster", "prod", "-o", "json")
    assert done.returncode == 0, done.stderr
    listed = [service["serviceName"] for service in json.loads(done.stdout)["services"]]
    assert sorted(listed) == sorted(["web"] + [f"svc-{n:02}" for n in range(11)])


def test_an_unknown_cluster_is_named(moto, run):
    done = run(moto.endpoint, "ls", "services", "--cluster", "nope")
    assert done.returncode == 3, done.stderr
    assert b"nope" in done.stderr
    assert done.stdout == b""


def test_exec_without_a_running_task_says_so(moto, run):
    done = run(moto.endpoint, "exec", "--cluster", "prod", "web", "--", "true")
    assert done.returncode == 125, done.stderr
    assert done.stdout == b""
    assert_readable(done.stderr)


def test_exec_survives_an_html_500(moto, run):
    """moto answers an operation it does not have with 500 and a web page."""
    polished = Polished(moto)
    with polished as endpoint:
        done = run(endpoint, "exec", "--cluster", "prod", "web", "--", "true")
    assert "ExecuteCommand" in polished.calls, done.stderr
    assert done.returncode == 125, done.stderr
    assert done.stdout == b""
    assert_readable(done.stderr)


def test_ls_survives_an_html_500(run):
    page = b"<!doctype html>\n<html><title>500 Internal Server Error</title><h1>Oops</h1></html>"

    class Broken(Quiet):
        def do_POST(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.reply(500, "text/html; charset=utf-8", page)

    with Serving(Broken) as endpoint:
        done = run(endpoint, "ls", "clusters")
    assert done.returncode == 125, done.stderr
    assert done.stdout == b""
    assert_readable(done.stderr)


def test_nobody_listening_is_told(run):
    with Serving(Quiet) as endpoint:
        pass  # the port was free a moment ago and nobody has it now
    done = run(endpoint, "ls", "clusters")
    assert done.returncode == 125, done.stderr
    assert done.stdout == b""
    assert_readable(done.stderr)


def assert_readable(text):
    """An error for people: no page source, no Rust structures."""
    shown = text.decode()
    assert shown.strip()
    for noise in ("<html", "<!doctype", "SdkError", "ServiceError {", "Some(", "ResponseError", "\x1b["):
        assert noise not in shown, shown


class Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status, content_type, body):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Serving:
    """An HTTP server on a free loopback port for the length of a `with`."""

    def __init__(self, handler):
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))

    def __enter__(self):
        self.thread.start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class Polished:
    """moto with one running task whose exec agent is up, which moto itself never shows."""

    TASK = "0123456789abcdef0123456789abcdef"

    def __init__(self, moto):
        calls = []
        cluster = "arn:aws:ecs:us-east-1:123456789012:cluster/prod"
        arn = f"arn:aws:ecs:us-east-1:123456789012:task/prod/{self.TASK}"
        task = {
            "taskArn": arn,
            "clusterArn": cluster,
            "taskDefinitionArn": "arn:aws:ecs:us-east-1:123456789012:task-definition/web:1",
            "group": "service:web",
            "startedBy": "ecs-svc/1234567890123456789",
            "lastStatus": "RUNNING",
            "desiredStatus": "RUNNING",
            "launchType": "FARGATE",
            "createdAt": 1790000000.0,
            "startedAt": 1790000001.0,
            "enableExecuteCommand": True,
            "version": 3,
            "containers": [
                {
                    "name": "app",
                    "containerArn": f"arn:aws:ecs:us-east-1:123456789012:container/prod/{self.TASK}/1",
                    "taskArn": arn,
                    "lastStatus": "RUNNING",
                    "runtimeId": f"{self.TASK}-1234567890",
                    "managedAgents": [{"name": "ExecuteCommandAgent", "lastStatus": "RUNNING"}],
                }
            ],
        }
        canned = {
            "ListTasks": {"taskArns": [arn]},
            "DescribeTasks": {"tasks": [task], "failures": []},
        }

        class Forward(Quiet):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                operation = self.headers.get("X-Amz-Target", "").rsplit(".", 1)[-1]
                calls.append(operation)
                if operation in canned:
                    self.reply(200, "application/x-amz-json-1.1", json.dumps(canned[operation]).encode())
                    return
                skipped = ("host", "content-length", "connection", "accept-encoding", "transfer-encoding")
                headers = {k: v for k, v in self.headers.items() if k.lower() not in skipped}
                request = urllib.request.Request(f"{moto.endpoint}{self.path}", body, headers, method="POST")
                try:
                    answer = urllib.request.urlopen(request, timeout=30)
                except urllib.error.HTTPError as error:
                    answer = error
                with answer:
                    self.reply(answer.status, answer.headers["Content-Type"], answer.read())

        self.serving = Serving(Forward)
        self.calls = calls

    def __enter__(self):
        return self.serving.__enter__()

    def __exit__(self, *failure):
        self.serving.__exit__(*failure)
