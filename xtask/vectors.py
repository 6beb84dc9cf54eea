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
    # Forms.
    ("sts", "GetCallerIdentity", {}),
    ("sts", "AssumeRole", {"RoleArn": "arn:aws:iam::1:role/r", "RoleSessionName": "s", "DurationSeconds": 900, "Tags": [{"Key": "a", "Value": "b c"}]}),
    ("iam", "ListRoles", {"PathPrefix": "/", "MaxItems": 3}),
    ("iam", "PutRolePolicy", {"RoleName": "r", "PolicyName": "p", "PolicyDocument": "{\"Version\": \"2012-10-17\"}"}),
    ("rds", "DescribeDBInstances", {"DBInstanceIdentifier": "d", "Filters": [{"Name": "engine", "Values": ["mysql", "postgres"]}]}),
    ("rds", "ModifyDBInstance", {"DBInstanceIdentifier": "d", "ApplyImmediately": True, "AllocatedStorage": 20, "VpcSecurityGroupIds": []}),
    ("rds", "CreateDBSnapshot", {"DBInstanceIdentifier": "d", "DBSnapshotIdentifier": "s", "Tags": [{"Key": "k", "Value": "é&="}]}),
    ("sns", "CreateTopic", {"Name": "t", "Attributes": {"DisplayName": "x", "KmsMasterKeyId": "k"}, "Tags": [{"Key": "a", "Value": "b"}]}),
    ("sns", "Publish", {"TopicArn": "arn", "Message": "m", "MessageAttributes": {"a": {"DataType": "String", "StringValue": "v"}, "b": {"DataType": "Binary", "BinaryValue": "xyz"}}}),
    ("sns", "SetTopicAttributes", {"TopicArn": "arn", "AttributeName": "a", "AttributeValue": "v"}),
    ("cloudformation", "CreateStack", {"StackName": "s", "TemplateBody": "{}", "Parameters": [{"ParameterKey": "a", "ParameterValue": "b", "UsePreviousValue": False}], "Capabilities": ["CAPABILITY_IAM"], "TimeoutInMinutes": 5}),
    ("cloudformation", "DescribeStacks", {"StackName": "s"}),
    ("autoscaling", "UpdateAutoScalingGroup", {"AutoScalingGroupName": "g", "MinSize": 1, "AvailabilityZones": ["a", "b"]}),
    ("elbv2", "ModifyLoadBalancerAttributes", {"LoadBalancerArn": "arn", "Attributes": [{"Key": "a", "Value": "b"}]}),
    ("elasticache", "DescribeCacheClusters", {"ShowCacheNodeInfo": True}),
    ("redshift", "ModifyCluster", {"ClusterIdentifier": "c", "ClusterSecurityGroups": ["a", "b"]}),
    ("ses", "SendEmail", {"Source": "a@b", "Destination": {"ToAddresses": ["c@d"]}, "Message": {"Subject": {"Data": "s"}, "Body": {"Text": {"Data": "t"}}}}),
    # Forms of EC2.
    ("ec2", "DescribeInstances", {"InstanceIds": ["i-1", "i-2"], "Filters": [{"Name": "tag:a", "Values": ["b", "c"]}], "MaxResults": 5}),
    ("ec2", "RunInstances", {"ImageId": "ami-1", "MinCount": 1, "MaxCount": 2, "ClientToken": "token", "BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 8, "DeleteOnTermination": True}}], "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "b"}]}], "IamInstanceProfile": {"Name": "p"}, "SecurityGroupIds": ["sg-1"], "Monitoring": {"Enabled": True}}),
    ("ec2", "RunInstances", {"ImageId": "ami-1", "MinCount": 1, "MaxCount": 1, "ClientToken": "token", "Ipv6Addresses": [{"Ipv6Address": "::1"}], "NetworkInterfaces": [{"DeviceIndex": 0, "Ipv6Addresses": [{"Ipv6Address": "::2"}], "Groups": ["sg-1"]}]}),
    ("ec2", "CreateTags", {"Resources": ["i-1"], "Tags": [{"Key": "a", "Value": "b"}]}),
    ("ec2", "DescribeInstanceStatus", {"InstanceIds": ["i-1"], "IncludeAllInstances": True}),
    ("ec2", "ModifyInstanceAttribute", {"InstanceId": "i-1", "DisableApiTermination": {"Value": True}, "Groups": ["sg-1"]}),
    ("ec2", "AuthorizeSecurityGroupIngress", {"GroupId": "sg-1", "IpPermissions": [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "10.0.0.0/8", "Description": "d"}], "UserIdGroupPairs": [{"GroupId": "sg-2"}]}]}),
    ("ec2", "DescribeSpotPriceHistory", {"StartTime": "2030-01-02T03:04:05Z", "InstanceTypes": []}),
    ("ec2", "CreateFlowLogs", {"ResourceIds": ["vpc-1"], "ResourceType": "VPC", "TrafficType": "ALL", "ClientToken": "token"}),
    # XML.
    ("s3", "ListBuckets", {}),
    ("s3", "GetBucketTagging", {"Bucket": "b"}),
    ("s3", "CreateBucket", {"Bucket": "b", "CreateBucketConfiguration": {"LocationConstraint": "eu-west-1"}, "ACL": "private"}),
    ("s3", "PutBucketTagging", {"Bucket": "b", "Tagging": {"TagSet": [{"Key": "a", "Value": "<&\">"}]}}),
    ("s3", "PutBucketVersioning", {"Bucket": "b", "VersioningConfiguration": {"Status": "Enabled"}}),
    ("s3", "PutPublicAccessBlock", {"Bucket": "b", "PublicAccessBlockConfiguration": {"BlockPublicAcls": True, "RestrictPublicBuckets": False}}),
    ("s3", "PutBucketLifecycleConfiguration", {"Bucket": "b", "LifecycleConfiguration": {"Rules": [{"ID": "r", "Status": "Enabled", "Filter": {"Prefix": "x/"}, "Expiration": {"Date": "2030-01-02T00:00:00Z"}, "Transitions": [{"Days": 1, "StorageClass": "GLACIER"}]}]}}),
    ("s3", "PutBucketAcl", {"Bucket": "b", "AccessControlPolicy": {"Owner": {"ID": "o"}, "Grants": [{"Grantee": {"Type": "CanonicalUser", "ID": "g"}, "Permission": "READ"}]}}),
    ("s3", "PutBucketPolicy", {"Bucket": "b", "Policy": "{}"}),
    ("s3", "PutBucketLogging", {"Bucket": "b", "BucketLoggingStatus": {"LoggingEnabled": {"TargetBucket": "t", "TargetPrefix": "p/"}}}),
    ("s3", "DeleteObject", {"Bucket": "b", "Key": "a b/c+d~é"}),
    ("s3", "DeleteObjects", {"Bucket": "b", "Delete": {"Objects": [{"Key": "x"}, {"Key": "y", "VersionId": "1"}], "Quiet": True}}),
    ("s3", "CopyObject", {"Bucket": "b", "Key": "k", "CopySource": "b/other", "Metadata": {"a": "b"}, "MetadataDirective": "REPLACE"}),
    ("s3", "CopyObject", {"Bucket": "b", "Key": "k", "CopySource": "b/other", "Expires": "2030-01-02T03:04:05Z"}),
    ("s3", "HeadObject", {"Bucket": "b", "Key": "k", "IfModifiedSince": "2030-01-02T03:04:05Z"}),
    ("route53", "ChangeResourceRecordSets", {"HostedZoneId": "Z1", "ChangeBatch": {"Comment": "c", "Changes": [{"Action": "UPSERT", "ResourceRecordSet": {"Name": "a.b", "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "1.2.3.4"}]}}]}}),
    ("route53", "ListResourceRecordSets", {"HostedZoneId": "Z1", "MaxItems": "5"}),
    ("cloudfront", "CreateInvalidation", {"DistributionId": "D", "InvalidationBatch": {"Paths": {"Quantity": 1, "Items": ["/*"]}, "CallerReference": "r"}}),
    ("s3control", "PutPublicAccessBlock", {"AccountId": "123456789012", "PublicAccessBlockConfiguration": {"BlockPublicAcls": True}}),
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
        if protocol not in ("json", "rest-json", "query", "ec2", "rest-xml"):
            protocol = "json" if "json" in offered else protocol
        # botocore fills these in before it serialises.
        filled = {**dict.fromkeys(op.idempotent_members, "token"), **given}
        request = serialize.create_serializer(protocol, include_validation=False).serialize_to_request(filled, op)
        query = request["query_string"]
        if isinstance(query, dict):
            pairs = [(k, v) for k, vs in query.items() for v in (vs if isinstance(vs, list) else [vs])]
            query = "&".join(urllib.parse.quote(str(k), safe="-._~") + "=" + urllib.parse.quote(str(v), safe="-._~") for k, v in pairs)
        path = request["url_path"] + ("?" + query if query and "?" not in request["url_path"] else "")
        body = request["body"]
        if isinstance(body, dict):
            body = "&".join(f"{k}={urllib.parse.quote(str(v), safe='-._~')}" for k, v in body.items())
        body = body.decode() if isinstance(body, bytes) else (body or "")
        headers = {k.lower(): str(v) for k, v in request["headers"].items() if k.lower() != "content-type"}
        if protocol == "json":
            headers["content-type"] = request["headers"]["Content-Type"]
        vectors.append({"service": service, "operation": operation, "input": given, "method": request["method"], "path": path, "headers": headers, "body": body if isinstance(body, str) else ""})
    print(json.dumps(vectors, indent=1, ensure_ascii=False))


main()
