"""Parameters and secrets as boto3 has them, and what a sandbox keeps from one start to the next."""

import json

import urllib.error
import urllib.request

import boto3
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

import conftest


@pytest.fixture
def own(bowline, tmp_path):
    """Starts sandboxes of its own; each gets a client maker."""
    started = []

    def start(*options):
        place = tmp_path / f"sandbox-{len(started)}"
        place.mkdir()
        sandbox = conftest.Started(bowline, place, *options)
        started.append(sandbox)

        def client(service):
            env = sandbox.env
            return boto3.client(
                service,
                endpoint_url=env["AWS_ENDPOINT_URL"],
                region_name=env["AWS_REGION"],
                aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
            )

        client.sandbox = sandbox
        return client

    yield start
    for sandbox in started:
        sandbox.stop()


def refusal(call, **request):
    with pytest.raises(ClientError) as caught:
        call(**request)
    return caught.value.response["Error"]["Code"]


def test_parameters(own):
    ssm = own()("ssm")
    assert ssm.put_parameter(Name="/a/b", Value="1", Type="String")["Version"] == 1
    assert refusal(ssm.put_parameter, Name="/a/b", Value="2", Type="String") == "ParameterAlreadyExists"
    assert ssm.put_parameter(Name="/a/b", Value="2", Overwrite=True)["Version"] == 2
    ssm.put_parameter(Name="/a/c/d", Value="x,y", Type="StringList")
    ssm.put_parameter(Name="plain", Value="hidden", Type="SecureString", Description="why")
    assert refusal(ssm.put_parameter, Name="aws/x", Value="1", Type="String") == "ValidationException"

    found = ssm.get_parameter(Name="/a/b")["Parameter"]
    assert (found["Value"], found["Type"], found["Version"]) == ("2", "String", 2)
    assert found["ARN"] == "arn:aws:ssm:us-east-1:123456789012:parameter/a/b"
    assert ssm.get_parameter(Name=found["ARN"])["Parameter"]["Name"] == "/a/b"
    assert ssm.get_parameter(Name="plain")["Parameter"]["Value"] != "hidden"
    secure = ssm.get_parameter(Name="plain", WithDecryption=True)["Parameter"]
    assert secure["Value"] == "hidden"
    assert ssm.get_parameter(Name=secure["ARN"])["Parameter"]["Name"] == "plain"
    assert refusal(ssm.get_parameter, Name="/none") == "ParameterNotFound"

    several = ssm.get_parameters(Names=["/a/b", "/none"])
    assert [it["Name"] for it in several["Parameters"]] == ["/a/b"]
    assert several["InvalidParameters"] == ["/none"]
    below = ssm.get_parameters_by_path(Path="/a")["Parameters"]
    assert [it["Name"] for it in below] == ["/a/b"]
    pages = ssm.get_paginator("get_parameters_by_path").paginate(Path="/", Recursive=True, MaxResults=1)
    names = [it["Name"] for page in pages for it in page["Parameters"]]
    assert names == ["/a/b", "/a/c/d", "/demo/db/host", "/demo/db/port"]
    described = {it["Name"]: it for it in ssm.describe_parameters(MaxResults=50)["Parameters"]}
    assert described["plain"]["Description"] == "why"

    assert ssm.delete_parameters(Names=["/a/c/d", "/none"])["InvalidParameters"] == ["/none"]
    ssm.delete_parameter(Name="/a/b")
    assert refusal(ssm.delete_parameter, Name="/a/b") == "ParameterNotFound"


def test_secrets(own):
    manager = own()("secretsmanager")
    made = manager.create_secret(Name="app/db", SecretString='{"user": "me"}', Description="why")
    assert refusal(manager.create_secret, Name="app/db", SecretString="x") == "ResourceExistsException"
    found = manager.get_secret_value(SecretId=made["ARN"])
    assert json.loads(found["SecretString"]) == {"user": "me"}
    assert found["VersionStages"] == ["AWSCURRENT"]
    put = manager.put_secret_value(SecretId="app/db", SecretBinary=b"\x00\xff")
    assert put["VersionId"] != made["VersionId"]
    found = manager.get_secret_value(SecretId="app/db")
    assert found["SecretBinary"] == b"\x00\xff" and "SecretString" not in found
    assert manager.describe_secret(SecretId="app/db")["Description"] == "why"
    pages = manager.get_paginator("list_secrets").paginate(MaxResults=1)
    assert [it["Name"] for page in pages for it in page["SecretList"]] == ["app/db", "demo/db"]
    manager.delete_secret(SecretId="app/db", ForceDeleteWithoutRecovery=True)
    assert refusal(manager.get_secret_value, SecretId="app/db") == "ResourceNotFoundException"


DOCUMENT = "schemaVersion: '0.3'\nmainSteps:\n- name: wait\n  action: aws:sleep\n  inputs: {Duration: PT1S}\n"


def test_what_is_made_by_calls_is_there_after_a_restart(own, tmp_path):
    state = ("--state", str(tmp_path / "kept"))
    first = own(*state)
    ecs, ssm, logs = first("ecs"), first("ssm"), first("logs")
    container = {"name": "app", "image": "x", "command": ["sleep", "600"]}
    for cpu in ("256", "512"):
        ecs.register_task_definition(
            family="kept", containerDefinitions=[container], requiresCompatibilities=["FARGATE"],
            networkMode="awsvpc", cpu=cpu, memory="1024",
        )
    ecs.deregister_task_definition(taskDefinition="kept:1")
    ecs.create_cluster(clusterName="mine", tags=[{"key": "who", "value": "me"}])
    network = {"awsvpcConfiguration": {"subnets": ["subnet-0a1b2c3d4e5f60001"]}}
    ecs.create_service(
        cluster="mine", serviceName="kept", taskDefinition="kept:2", desiredCount=1, launchType="FARGATE",
        networkConfiguration=network, tags=[{"key": "a", "value": "b"}],
    )
    ecs.update_service(cluster="demo", service="web", desiredCount=1)
    ssm.put_parameter(Name="/kept", Value="1", Type="String")
    ssm.put_parameter(Name="/kept", Value="2", Overwrite=True)
    ssm.delete_parameter(Name="/demo/db/port")
    ssm.create_document(Name="Kept", Content=DOCUMENT, DocumentType="Automation", DocumentFormat="YAML")
    first("secretsmanager").create_secret(Name="kept", SecretString="s")
    first("s3").put_object(Bucket="demo-bucket", Key="a/b", Body=b"\x00object")
    first("iam").create_role(RoleName="kept", AssumeRolePolicyDocument=json.dumps({"Statement": []}))
    logs.create_log_group(logGroupName="/kept", tags={"x": "y"})
    logs.create_log_stream(logGroupName="/kept", logStreamName="s")
    # Events have to be recent.
    import time

    now = int(time.time() * 1000)
    events = [{"timestamp": now + number, "message": f"event {number}"} for number in range(3)]
    logs.put_log_events(logGroupName="/kept", logStreamName="s", logEvents=events)
    first.sandbox.stop()

    again = own(*state)
    ecs, ssm, logs = again("ecs"), again("ssm"), again("logs")
    assert ecs.describe_task_definition(taskDefinition="kept")["taskDefinition"]["revision"] == 2
    old = ecs.describe_task_definition(taskDefinition="kept:1")["taskDefinition"]
    assert (old["status"], old["cpu"]) == ("INACTIVE", "256")
    service = ecs.describe_services(cluster="mine", services=["kept"], include=["TAGS"])["services"][0]
    assert service["taskDefinition"].endswith("kept:2") and service["tags"] == [{"key": "a", "value": "b"}]
    assert service["runningCount"] == 1
    web = ecs.describe_services(cluster="demo", services=["web"])["services"][0]
    assert (web["desiredCount"], web["runningCount"]) == (1, 1)
    parameter = ssm.get_parameter(Name="/kept")["Parameter"]
    assert (parameter["Value"], parameter["Version"]) == ("2", 2)
    assert refusal(ssm.get_parameter, Name="/demo/db/port") == "ParameterNotFound"
    assert ssm.get_document(Name="Kept")["Content"] == DOCUMENT
    assert again("secretsmanager").get_secret_value(SecretId="kept")["SecretString"] == "s"
    assert again("s3").get_object(Bucket="demo-bucket", Key="a/b")["Body"].read() == b"\x00object"
    assert refusal(
        again("iam").create_role, RoleName="kept", AssumeRolePolicyDocument=json.dumps({"Statement": []})
    ) == "EntityAlreadyExists"
    found = logs.get_log_events(logGroupName="/kept", logStreamName="s", startFromHead=True)["events"]
    assert [(it["timestamp"], it["message"]) for it in found] == [(it["timestamp"], it["message"]) for it in events]


class Unsigned(S3SigV4Auth):
    """Signs the request and not its body, as clients do that have none at hand."""

    def _should_sha256_sign_payload(self, request):
        return False


class Stated(S3SigV4Auth):
    """Signs what it says of the body, true or not."""

    def payload(self, request):
        return "0" * 64


def test_objects_have_names_of_all_kinds_and_signatures_of_both(own):
    client = own()
    s3 = client("s3")
    for number, key in enumerate(["a b", "a+b", "a%20b", "x/y (1)/ü=*'!~.txt", "/"]):
        body = f"object {number}".encode()
        s3.put_object(Bucket="demo-bucket", Key=key, Body=body)
        assert s3.get_object(Bucket="demo-bucket", Key=key)["Body"].read() == body, key

    env = client.sandbox.env
    keys = Credentials(env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"])

    def put(signer, path):
        url = f"{env['AWS_ENDPOINT_URL']}/demo-bucket/{path}"
        request = AWSRequest("PUT", url, data=b"body")
        signer(keys, "s3", env["AWS_REGION"]).add_auth(request)
        sent = urllib.request.Request(url, b"body", dict(request.headers.items()), method="PUT")
        try:
            return urllib.request.urlopen(sent, timeout=30).status
        except urllib.error.HTTPError as error:
            return error.read().decode()

    assert put(Unsigned, "un%20signed") == 200
    assert s3.get_object(Bucket="demo-bucket", Key="un signed")["Body"].read() == b"body"
    assert "<Code>XAmzContentSHA256Mismatch</Code>" in put(Stated, "stated")
