"""Requests as botocore serialises them: the recorded facts that crates/bowline/src/aws/call is held against.

    python xtask/vectors.py > crates/bowline/src/aws/call/vectors.json

Needs botocore. Idempotency tokens are the word `token`.
"""

import datetime
import json
import urllib.parse

import botocore.session
from botocore import model, serialize

CALLS = [
    ("ecs", "RunTask", {"taskDefinition": "job:1", "cluster": "demo", "count": 2, "overrides": {"containerOverrides": [{"name": "a", "environment": [{"name": "x", "value": "é\"\\"}]}]}}),
    ("ecs", "DescribeTasks", {"cluster": "demo", "tasks": ["a", "b"]}),
    ("ecs", "ListClusters", {}),
    ("ssm", "GetParameters", {"Names": ["/a", "b"], "WithDecryption": True}),
    ("ssm", "CreateActivation", {"IamRole": "r", "ExpirationDate": "2030-01-02T03:04:05Z"}),
    ("dynamodb", "PutItem", {"TableName": "t", "Item": {"k": {"S": "v"}, "n": {"N": "1"}, "l": {"L": [{"BOOL": True}]}}}),
    ("cloudwatch", "DescribeAlarms", {"AlarmNames": ["a"], "MaxRecords": 1}),
    ("securityhub", "BatchUpdateFindings", {"FindingIdentifiers": [{"Id": "i", "ProductArn": "p"}], "Workflow": {"Status": "RESOLVED"}, "Note": {"Text": "t", "UpdatedBy": "u"}}),
    ("kms", "Encrypt", {"KeyId": "k", "Plaintext": "hello", "EncryptionContext": {"a": "b"}}),
    ("stepfunctions", "StartExecution", {"stateMachineArn": "arn", "input": "{}"}),
    ("logs", "PutLogEvents", {"logGroupName": "g", "logStreamName": "s", "logEvents": [{"timestamp": 1, "message": "m"}]}),
    ("lambda", "Invoke", {"FunctionName": "test", "InvocationType": "RequestResponse", "LogType": "Tail", "Payload": "{\"a\": 1}"}),
    ("lambda", "Invoke", {"FunctionName": "arn:aws:lambda:eu-west-1:123456789012:function:f", "Qualifier": "a b"}),
    ("lambda", "GetFunctionConfiguration", {"FunctionName": "f"}),
    ("lambda", "UpdateFunctionConfiguration", {"FunctionName": "f", "Timeout": 3, "Environment": {"Variables": {"A": "b"}}}),
    ("lambda", "TagResource", {"Resource": "arn:aws:lambda:eu-west-1:1:function:f", "Tags": {"a": "b"}}),
    ("lambda", "UntagResource", {"Resource": "arn:x", "TagKeys": ["a", "b c"]}),
    ("lambda", "ListFunctions", {"MaxItems": 5}),
    ("eks", "DescribeCluster", {"name": "c"}),
    ("eks", "UpdateNodegroupConfig", {"clusterName": "c", "nodegroupName": "n", "scalingConfig": {"minSize": 1}, "clientRequestToken": "token"}),
    ("efs", "DescribeFileSystems", {"FileSystemId": "fs-1"}),
    ("efs", "PutLifecycleConfiguration", {"FileSystemId": "fs-1", "LifecyclePolicies": [{"TransitionToIA": "AFTER_7_DAYS"}]}),
    ("apigateway", "UpdateStage", {"restApiId": "r", "stageName": "s", "patchOperations": [{"op": "replace", "path": "/deploymentId", "value": "d"}]}),
    ("apigateway", "GetDeployments", {"restApiId": "r", "limit": 500}),
    ("guardduty", "CreateDetector", {"Enable": True, "ClientToken": "token"}),
    ("macie2", "EnableMacie", {"clientToken": "token", "status": "ENABLED"}),
    ("backup", "StartBackupJob", {"BackupVaultName": "v", "ResourceArn": "arn", "IamRoleArn": "role", "IdempotencyToken": "token"}),
    ("backup", "ListBackupJobs", {"ByCreatedAfter": "2030-01-02T03:04:05Z"}),
    ("iot", "UpdateThing", {"thingName": "a/b", "attributePayload": {"attributes": {"x": "y"}}}),
]


def main():
    session = botocore.session.get_session()
    vectors = []
    for service, operation, given in CALLS:
        loaded = model.ServiceModel(session.get_service_data(service), service)
        op = loaded.operation_model(operation)
        protocol = loaded.protocol_name if hasattr(loaded, "protocol_name") else loaded.metadata["protocol"]
        offered = loaded.metadata.get("protocols", [protocol])
        if protocol not in ("json", "rest-json"):
            protocol = "json" if "json" in offered else protocol
        # botocore fills these in before it serialises.
        filled = {**dict.fromkeys(op.idempotent_members, "token"), **given}
        request = serialize.create_serializer(protocol, include_validation=True).serialize_to_request(filled, op)
        query = request["query_string"]
        if isinstance(query, dict):
            pairs = [(k, v) for k, vs in query.items() for v in (vs if isinstance(vs, list) else [vs])]
            query = "&".join(urllib.parse.quote(str(k), safe="-._~") + "=" + urllib.parse.quote(str(v), safe="-._~") for k, v in pairs)
        path = request["url_path"] + ("?" + query if query and "?" not in request["url_path"] else "")
        body = request["body"]
        body = body.decode() if isinstance(body, bytes) else (body or "")
        headers = {k.lower(): str(v) for k, v in request["headers"].items() if k.lower() != "content-type"}
        if protocol == "json":
            headers["content-type"] = request["headers"]["Content-Type"]
        vectors.append({"service": service, "operation": operation, "input": given, "method": request["method"], "path": path, "headers": headers, "body": body if isinstance(body, str) else ""})
    print(json.dumps(vectors, indent=1, ensure_ascii=False))


main()
