"""Lambda functions of the sandbox, invoked by boto3; and runbooks against moto."""

import base64
import json
import os
import subprocess
import sys

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

from conftest import Started

BOOTSTRAP = """#!{python}
import json, os, sys, urllib.request
base = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    with urllib.request.urlopen(base + "next") as answer:
        request = answer.headers["Lambda-Runtime-Aws-Request-Id"]
        event = json.load(answer)
    print("seen", event, flush=True)
    if event.get("exit"):
        sys.exit(1)
    kind, body = "response", {{"twice": event.get("n", 0) * 2, "name": os.environ["AWS_LAMBDA_FUNCTION_NAME"], "extra": os.environ["EXTRA"]}}
    if event.get("fail"):
        kind, body = "error", {{"errorType": "Nope", "errorMessage": "as asked"}}
    data = json.dumps(body).encode()
    urllib.request.urlopen(urllib.request.Request(base + request + "/" + kind, data=data, method="POST"))
"""

RUNBOOK = """
schemaVersion: '0.3'
parameters: {Table: {type: String, default: t}}
mainSteps:
- name: put
  action: aws:executeAwsApi
  inputs:
    Service: dynamodb
    Api: PutItem
    TableName: '{{ Table }}'
    Item: {k: {S: 'é"\\\\'}, n: {N: '1'}}
- name: get
  action: aws:executeAwsApi
  inputs: {Service: dynamodb, Api: get_item, TableName: '{{ Table }}', Key: {k: {S: 'é"\\\\'}}}
  outputs: [{Name: n, Selector: $.Item.n.N, Type: Integer}]
- name: wait
  action: aws:waitForAwsResourceProperty
  timeoutSeconds: 20
  inputs: {Service: dynamodb, Api: DescribeTable, TableName: '{{ Table }}', PropertySelector: $.Table.TableStatus, DesiredValues: [ACTIVE]}
- name: function
  action: aws:executeAwsApi
  inputs: {Service: efs, Api: CreateFileSystem, CreationToken: 'token', Tags: [{Key: a, Value: b}]}
  outputs: [{Name: id, Selector: $.FileSystemId, Type: String}]
- name: shown
  action: aws:executeAwsApi
  inputs: {Service: efs, Api: DescribeFileSystems, FileSystemId: '{{ function.id }}'}
  outputs: [{Name: tag, Selector: '$.FileSystems[0].Tags[0].Value', Type: String}]
- name: missing
  action: aws:executeAwsApi
  inputs: {Service: efs, Api: DescribeFileSystems, FileSystemId: fs-0123456789}
outputs: [get.n, shown.tag]
"""


@pytest.fixture(scope="module")
def functions(bowline, tmp_path_factory):
    place = tmp_path_factory.mktemp("functions")
    bootstrap = place / "bootstrap"
    bootstrap.write_text(BOOTSTRAP.format(python=sys.executable))
    bootstrap.chmod(0o755)
    world = place / "world.json"
    world.write_text(json.dumps({
        "clusters": [{"name": "c"}],
        "functions": [
            {"name": "command", "command": ["sh", "-c", "cat; echo a log line >&2"]},
            {"name": "broken", "command": ["sh", "-c", "exit 7"]},
            {"name": "slow", "command": ["sleep", "600"], "timeout": 1},
            {"name": "real", "bootstrap": str(bootstrap), "environment": {"EXTRA": "e"}},
        ],
    }))
    started = Started(bowline, tmp_path_factory.mktemp("sandbox"), "--world", str(world))
    env = started.env
    yield boto3.client(
        "lambda",
        endpoint_url=env["BOWLINE_ENDPOINT"],
        region_name=env["AWS_REGION"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        config=Config(retries={"total_max_attempts": 1}),
    )
    started.stop()


@pytest.fixture
def moto_url():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def invoke(functions, name, event=None, **more):
    payload = {} if event is None else {"Payload": json.dumps(event)}
    answer = functions.invoke(FunctionName=name, LogType="Tail", **payload, **more)
    body = answer["Payload"].read()
    log = base64.b64decode(answer.get("LogResult", "")).decode()
    return answer, json.loads(body) if body else None, log


def test_a_command_answers_with_its_output(functions):
    answer, body, log = invoke(functions, "command", {"a": 1})
    assert (answer["StatusCode"], body) == (200, {"a": 1})
    assert "FunctionError" not in answer
    assert "a log line" in log and log.startswith("START RequestId: ")
    arn = "arn:aws:lambda:us-east-1:123456789012:function:command"
    assert invoke(functions, arn)[1] == {}


def test_failures_are_answers(functions):
    answer, body, _ = invoke(functions, "broken")
    assert (answer["FunctionError"], body["errorType"]) == ("Unhandled", "Runtime.ExitError")
    answer, body, _ = invoke(functions, "slow")
    assert (answer["FunctionError"], "timed out after 1.00 seconds" in body["errorMessage"]) == ("Unhandled", True)
    with pytest.raises(ClientError) as error:
        invoke(functions, "nothing")
    assert error.value.response["Error"]["Code"] == "ResourceNotFoundException"
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    with pytest.raises(ClientError) as error:
        functions.invoke(FunctionName="command", Payload=b"{")
    assert error.value.response["Error"]["Code"] == "InvalidRequestContentException"


def test_a_bootstrap_speaks_the_runtime_api(functions):
    answer, body, log = invoke(functions, "real", {"n": 21})
    assert body == {"twice": 42, "name": "real", "extra": "e"}
    assert "seen" in log
    answer, body, _ = invoke(functions, "real", {"fail": True})
    assert (answer["FunctionError"], body) == ("Unhandled", {"errorType": "Nope", "errorMessage": "as asked"})
    answer, body, _ = invoke(functions, "real", {"exit": True})
    assert (answer["FunctionError"], body["errorType"]) == ("Unhandled", "Runtime.ExitError")


def test_other_ways_to_invoke(functions):
    assert invoke(functions, "command", InvocationType="DryRun")[0]["StatusCode"] == 204
    assert invoke(functions, "command", {}, InvocationType="Event")[0]["StatusCode"] == 202
    assert [it["FunctionName"] for it in functions.list_functions()["Functions"]] == ["broken", "command", "real", "slow"]


def test_a_runbook_calls_other_services_as_boto3_does(bowline, tmp_path, moto_url):
    """JSON and REST services, answered by moto."""
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "eu-west-1", "endpoint_url": moto_url}
    table = {"TableName": "t", "BillingMode": "PAY_PER_REQUEST"}
    boto3.client("dynamodb", **keys).create_table(
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}], AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}], **table
    )
    book = tmp_path / "book.yaml"
    book.write_text(RUNBOOK)
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AWS_ENDPOINT_URL": moto_url, "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "LANG": "C.UTF-8"}
    done = subprocess.run([bowline, "runbook", "run", str(book)], env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
    events = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert done.returncode == 1, done.stderr
    ends = {it["step"]: it["status"] for it in events if it["type"] == "step.end"}
    assert ends == {"put": "Success", "get": "Success", "wait": "Success", "function": "Success", "shown": "Success", "missing": "Failed"}, done.stdout
    assert events[-1]["outputs"] == {"get.n": ["1"], "shown.tag": ["b"]}
    assert "An error occurred (FileSystemNotFound) when calling the DescribeFileSystems operation" in events[-1]["failure"]
