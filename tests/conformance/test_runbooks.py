"""Lambda functions of the sandbox, invoked by boto3; and runbooks against moto."""

import base64
import http.server
import json
import os
import subprocess
import sys
import threading
import urllib.parse

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
    if event.get("size"):
        data = b'"' + b"x" * (event["size"] - 2) + b'"'
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


def test_the_answer_of_a_bootstrap_is_six_megabytes_at_most(functions):
    size = 6 << 20
    assert len(invoke(functions, "real", {"size": size})[1]) == size - 2
    answer, body, _ = invoke(functions, "real", {"size": size + 1})
    assert (answer["FunctionError"], body["errorType"]) == ("Unhandled", "Function.ResponseSizeTooLarge")


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


MANY = """
schemaVersion: '0.3'
assumeRole: '{{ Role }}'
parameters: {Role: {type: String, default: 'arn:aws:iam::123456789012:role/runbooks'}}
mainSteps:
- {name: vpc, action: 'aws:executeAwsApi', inputs: {Service: ec2, Api: CreateVpc, CidrBlock: 10.0.0.0/16, TagSpecifications: [{ResourceType: vpc, Tags: [{Key: a, Value: 'b & c'}]}]}, outputs: [{Name: id, Selector: $.Vpc.VpcId, Type: String}, {Name: tag, Selector: '$.Vpc.Tags[0].Value', Type: String}]}
- {name: vpcs, action: 'aws:assertAwsResourceProperty', inputs: {Service: ec2, Api: DescribeVpcs, Filters: [{Name: vpc-id, Values: ['{{ vpc.id }}']}], PropertySelector: '$.Vpcs[0].State', DesiredValues: [available]}}
- {name: run, action: 'aws:runInstances', timeoutSeconds: 60, inputs: {ImageId: ami-12c6146b, MinInstanceCount: 2, MaxInstanceCount: 2, InstanceType: t3.micro}}
- {name: tags, action: 'aws:createTags', inputs: {ResourceIds: ['{{ run.InstanceIds }}'], Tags: [{Key: x, Value: y}]}}
- {name: tagged, action: 'aws:executeAwsApi', inputs: {Service: ec2, Api: DescribeInstances, InstanceIds: ['{{ run.InstanceIds }}']}, outputs: [{Name: tags, Selector: '$..Tags[0].Value', Type: StringList}]}
- {name: first, action: 'aws:executeAwsApi', inputs: {Service: ec2, Api: DescribeInstances, InstanceIds: ['{{ run.InstanceIds }}']}, outputs: [{Name: id, Selector: '$.Reservations[0].Instances[0].InstanceId', Type: String}]}
- {name: stopped, action: 'aws:changeInstanceState', inputs: {InstanceIds: ['{{ run.InstanceIds }}'], DesiredState: stopped}}
- {name: running, action: 'aws:changeInstanceState', timeoutSeconds: 60, inputs: {InstanceIds: ['{{ run.InstanceIds }}'], DesiredState: running}}
- {name: picture, action: 'aws:createImage', timeoutSeconds: 60, inputs: {InstanceId: '{{ first.id }}', ImageName: n}}
- {name: dropped, action: 'aws:deleteImage', inputs: {ImageId: '{{ picture.ImageId }}'}}
- {name: db, action: 'aws:executeAwsApi', inputs: {Service: rds, Api: CreateDBInstance, DBInstanceIdentifier: d, DBInstanceClass: db.t3.micro, Engine: postgres, MasterUsername: user, MasterUserPassword: 'not a secret', AllocatedStorage: 20, Tags: [{Key: k, Value: 'ü'}]}}
- {name: dbs, action: 'aws:waitForAwsResourceProperty', inputs: {Service: rds, Api: describe_db_instances, DBInstanceIdentifier: d, PropertySelector: '$.DBInstances[0].DBInstanceStatus', DesiredValues: [available]}}
- {name: bucket, action: 'aws:executeAwsApi', inputs: {Service: s3, Api: CreateBucket, Bucket: some-bucket, CreateBucketConfiguration: {LocationConstraint: eu-west-1}}}
- {name: put, action: 'aws:executeAwsApi', inputs: {Service: s3, Api: PutBucketTagging, Bucket: some-bucket, Tagging: {TagSet: [{Key: a, Value: '<é>'}]}}}
- {name: got, action: 'aws:executeAwsApi', inputs: {Service: s3, Api: GetBucketTagging, Bucket: some-bucket}, outputs: [{Name: value, Selector: '$.TagSet[0].Value', Type: String}]}
- {name: place, action: 'aws:executeAwsApi', inputs: {Service: s3, Api: GetBucketLocation, Bucket: some-bucket}, outputs: [{Name: region, Selector: $.LocationConstraint, Type: String}]}
- {name: topic, action: 'aws:executeAwsApi', inputs: {Service: sns, Api: CreateTopic, Name: t, Attributes: {DisplayName: shown}}, outputs: [{Name: arn, Selector: $.TopicArn, Type: String}]}
- {name: attributes, action: 'aws:executeAwsApi', inputs: {Service: sns, Api: GetTopicAttributes, TopicArn: '{{ topic.arn }}'}, outputs: [{Name: shown, Selector: $.Attributes.DisplayName, Type: String}]}
- {name: stack, action: 'aws:createStack', inputs: {StackName: s, TemplateBody: '{"Resources": {"Q": {"Type": "AWS::SQS::Queue"}}, "Parameters": {"P": {"Type": "String"}}}', Parameters: [{ParameterKey: P, ParameterValue: v}], Tags: [{Key: a, Value: b}]}}
- {name: gone, action: 'aws:deleteStack', inputs: {StackName: s}}
- {name: missing, action: 'aws:executeAwsApi', onFailure: Continue, inputs: {Service: s3, Api: HeadBucket, Bucket: nothing-here}}
- {name: nothing, action: 'aws:executeAwsApi', onFailure: Continue, inputs: {Service: rds, Api: DescribeDBInstances, DBInstanceIdentifier: other}}
- {name: wrong, action: 'aws:executeAwsApi', onFailure: Continue, inputs: {Service: ec2, Api: DescribeInstances, InstanceIds: [i-0123456789abcdef0]}}
- {name: bad, action: 'aws:executeAwsApi', inputs: {Service: s3, Api: GetBucketPolicy, Bucket: some-bucket}}
outputs: [vpc.tag, tagged.tags, got.value, place.region, attributes.shown, stack.StackStatus]
"""


def test_a_runbook_calls_form_and_xml_services(bowline, tmp_path, moto_url):
    """EC2, RDS, S3, SNS, CloudFormation and STS, answered by moto."""
    book = tmp_path / "book.yaml"
    book.write_text(MANY)
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AWS_ENDPOINT_URL": moto_url, "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "LANG": "C.UTF-8"}
    done = subprocess.run([bowline, "runbook", "run", str(book), "--poll-interval", "200ms"], env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=240)
    events = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert done.returncode == 1, (done.stdout[-2000:], done.stderr)
    failed = {it["step"]: it["error"] for it in events if it["type"] == "step.end" and it["status"] != "Success"}
    assert list(failed) == ["missing", "nothing", "wrong", "bad"], failed
    assert "An error occurred (404) when calling the HeadBucket operation" in failed["missing"]
    assert "An error occurred (DBInstanceNotFound) when calling the DescribeDBInstances operation" in failed["nothing"]
    assert "An error occurred (InvalidInstanceID.NotFound) when calling the DescribeInstances operation" in failed["wrong"]
    assert "An error occurred (NoSuchBucketPolicy) when calling the GetBucketPolicy operation: The bucket policy does not exist" in failed["bad"]
    assert events[-1]["outputs"] == {
        "vpc.tag": ["b & c"], "tagged.tags": ["y", "y"], "got.value": ["<é>"], "place.region": ["eu-west-1"],
        "attributes.shown": ["shown"], "stack.StackStatus": ["CREATE_COMPLETE"],
    }


class Recorder(http.server.BaseHTTPRequestHandler):
    """Writes down requests, and answers all of them with the same error."""

    def do(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        self.server.seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        self.send_response(400)
        self.send_header("content-length", "0")
        self.end_headers()

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do

    def log_message(self, *_):
        pass


CALLS = [
    ("ec2", "describe_instances", {"InstanceIds": ["i-1"], "Filters": [{"Name": "tag:a", "Values": ["b c", "é"]}], "MaxResults": 5}),
    ("ec2", "run_instances", {"ImageId": "ami-1", "MinCount": 1, "MaxCount": 2, "ClientToken": "t", "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "b"}]}]}),
    ("rds", "describe_db_instances", {"DBInstanceIdentifier": "d", "Filters": [{"Name": "engine", "Values": ["mysql"]}]}),
    ("rds", "modify_db_instance", {"DBInstanceIdentifier": "d", "VpcSecurityGroupIds": ["a", "b"], "ApplyImmediately": True}),
    ("s3", "list_buckets", {}),
    ("s3", "put_bucket_tagging", {"Bucket": "some-bucket", "Tagging": {"TagSet": [{"Key": "a", "Value": "<&é>"}]}}),
    ("s3", "delete_object", {"Bucket": "some-bucket", "Key": "a b/c+d"}),
    ("s3", "get_bucket_location", {"Bucket": "some-bucket"}),
    ("cloudformation", "create_stack", {"StackName": "s", "TemplateBody": "{}", "Parameters": [{"ParameterKey": "a", "ParameterValue": "b"}], "TimeoutInMinutes": 5}),
    ("cloudformation", "describe_stacks", {"StackName": "s"}),
    ("sns", "publish", {"TopicArn": "arn", "Message": "m", "MessageAttributes": {"a": {"DataType": "String", "StringValue": "v"}}}),
    ("route53", "list_resource_record_sets", {"HostedZoneId": "/hostedzone/Z1"}),
]


@pytest.mark.parametrize("service, operation, given", CALLS, ids=lambda it: it if isinstance(it, str) else "")
def test_requests_are_boto3s_on_the_wire(bowline, tmp_path, service, operation, given):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    server.seen = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "eu-west-1", "endpoint_url": url}
        client = boto3.client(service, config=Config(retries={"total_max_attempts": 1}), **keys)
        with pytest.raises(Exception):
            getattr(client, operation)(**given)
        book = tmp_path / "book.json"
        step = {"name": "s", "action": "aws:executeAwsApi", "inputs": {"Service": service, "Api": operation, **given}}
        book.write_text(json.dumps({"schemaVersion": "0.3", "mainSteps": [step]}))
        env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AWS_ENDPOINT_URL": url, "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "LANG": "C.UTF-8"}
        done = subprocess.run([bowline, "runbook", "run", str(book)], env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
        assert done.returncode == 1, done.stderr
        theirs, ours = server.seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert ours[0] == theirs[0]
    assert split(ours[1]) == split(theirs[1])
    assert body(ours) == body(theirs)
    told = lambda request: {k: v for k, v in request[2].items() if k in ("x-amz-target", "x-amz-content-sha256", "x-amz-checksum-crc32", "x-amz-sdk-checksum-algorithm") or (k == "content-type" and request[3])}
    assert told(ours) == told(theirs)
    scope = lambda request: request[2]["authorization"].split("Credential=a/")[1].split(",")[0].split("/")[1:]
    assert scope(ours) == scope(theirs)


def split(path):
    plain, _, query = path.partition("?")
    return plain, sorted(urllib.parse.parse_qsl(query, keep_blank_values=True))


def body(request):
    is_form = request[3].startswith("Action=")
    return sorted(urllib.parse.parse_qsl(request[3], keep_blank_values=True)) if is_form else request[3]
