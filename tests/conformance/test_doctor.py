"""IAM and EC2 of the demo world, judged with boto3: what `bowline doctor` asks and what its fixes change."""

import json
import tempfile

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

import conftest

CHANNEL = [
    f"ssmmessages:{name}ControlChannel" for name in ("Create", "Open")
] + [f"ssmmessages:{name}DataChannel" for name in ("Create", "Open")]


@pytest.fixture
def own(bowline):
    """Clients of a sandbox of the test's own."""
    with tempfile.TemporaryDirectory(prefix="bowline-doctor-") as place:
        started = []

        def start(*scenarios, world=None):
            options = ["--world", str(world)] if world else []
            options += [word for scenario in scenarios for word in ("--scenario", scenario)]
            sandbox = conftest.Started(bowline, tempfile.mkdtemp(dir=place), *options)
            started.append(sandbox)

            def client(service):
                return boto3.client(
                    service,
                    endpoint_url=sandbox.env["BOWLINE_ENDPOINT"],
                    region_name=sandbox.env["AWS_REGION"],
                    aws_access_key_id=sandbox.env["AWS_ACCESS_KEY_ID"],
                    aws_secret_access_key=sandbox.env["AWS_SECRET_ACCESS_KEY"],
                    config=Config(retries={"total_max_attempts": 1}),
                )

            return client

        yield start
        for sandbox in started:
            sandbox.stop()


def refused(code, status, call, **request):
    with pytest.raises(ClientError) as caught:
        call(**request)
    answer = caught.value.response
    assert answer["Error"]["Code"] == code, answer
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == status, answer
    assert answer["ResponseMetadata"]["RequestId"]


def decisions(iam, arn, actions, **more):
    answer = iam.simulate_principal_policy(PolicySourceArn=arn, ActionNames=actions, **more)
    assert answer["IsTruncated"] is False
    return [result["EvalDecision"] for result in answer["EvaluationResults"]]


def test_policies_are_simulated_and_changed(own):
    client = own("role-denied")
    iam, sts = client("iam"), client("sts")
    caller = sts.get_caller_identity()["Arn"]
    assert decisions(iam, caller, ["ecs:ExecuteCommand", "iam:PutRolePolicy"]) == ["allowed"] * 2

    role = iam.get_role(RoleName="demo-task")["Role"]
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"Service": "ecs-tasks.amazonaws.com"}
    assert decisions(iam, role["Arn"], CHANNEL) == ["implicitDeny"] * 4
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": CHANNEL, "Resource": "*"}]}
    iam.put_role_policy(RoleName="demo-task", PolicyName="exec", PolicyDocument=json.dumps(policy))
    assert iam.get_role_policy(RoleName="demo-task", PolicyName="exec")["PolicyDocument"] == policy
    assert "exec" in iam.list_role_policies(RoleName="demo-task")["PolicyNames"]
    assert iam.list_attached_role_policies(RoleName="demo-task")["AttachedPolicies"] == []
    assert decisions(iam, role["Arn"], CHANNEL, ResourceArns=["*"]) == ["allowed"] * 4

    iam.create_role(RoleName="new", AssumeRolePolicyDocument=json.dumps(role["AssumeRolePolicyDocument"]))
    assert decisions(iam, iam.get_role(RoleName="new")["Role"]["Arn"], ["s3:GetObject"]) == ["implicitDeny"]
    refused("EntityAlreadyExists", 409, iam.create_role, RoleName="new", AssumeRolePolicyDocument=json.dumps(policy))
    refused("NoSuchEntity", 404, iam.get_role, RoleName="nobody")
    refused("MalformedPolicyDocument", 400, iam.put_role_policy, RoleName="new", PolicyName="x", PolicyDocument="{")


def test_the_roles_that_a_world_file_names_exist(own, tmp_path):
    world = tmp_path / "world.yaml"
    container = "containers: [{name: a, image: x}]"
    world.write_text(
        f"families: [{{name: f, {container}}}, {{name: g, task_role: mine, execution_role: mine-too, {container}}}]"
    )
    iam = own(world=world)("iam")
    for name, expected in (
        ("ecs-task", "allowed"), ("ecs-execution", "implicitDeny"), ("mine", "allowed"), ("mine-too", "implicitDeny"),
    ):
        role = iam.get_role(RoleName=name)["Role"]
        assert role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"Service": "ecs-tasks.amazonaws.com"}
        assert decisions(iam, role["Arn"], CHANNEL) == [expected] * 4, name


def test_denied_callers_are_refused_in_each_protocol(own):
    client = own("caller-denied=iam:*", "caller-denied=ec2:*", "caller-denied")
    refused("AccessDenied", 403, client("iam").get_role, RoleName="demo-task")
    refused("UnauthorizedOperation", 403, client("ec2").describe_subnets)
    ecs = client("ecs")
    task = ecs.list_tasks(cluster="demo")["taskArns"][0]
    request = {"cluster": "demo", "task": task, "command": "true", "interactive": True}
    refused("AccessDeniedException", 400, ecs.execute_command, **request)


def test_the_network_is_described_and_changed(own):
    client = own("no-route")
    ec2, ecs = client("ec2"), client("ecs")
    task = ecs.describe_tasks(cluster="demo", tasks=ecs.list_tasks(cluster="demo")["taskArns"][:1])["tasks"][0]
    details = {detail["name"]: detail["value"] for detail in task["attachments"][0]["details"]}
    (interface,) = ec2.describe_network_interfaces(NetworkInterfaceIds=[details["networkInterfaceId"]])[
        "NetworkInterfaces"
    ]
    (subnet,) = ec2.describe_subnets(SubnetIds=[details["subnetId"]])["Subnets"]
    assert interface["VpcId"] == subnet["VpcId"]
    by_subnet = [{"Name": "association.subnet-id", "Values": [subnet["SubnetId"]]}]
    (table,) = ec2.describe_route_tables(Filters=by_subnet)["RouteTables"]
    assert [route["GatewayId"] for route in table["Routes"]] == ["local"]
    assert ec2.describe_nat_gateways()["NatGateways"] == []
    assert ec2.describe_vpc_endpoints()["VpcEndpoints"] == []

    group = interface["Groups"][0]["GroupId"]
    request = {"cluster": "demo", "task": task["taskArn"], "command": "true", "interactive": True}
    refused("TargetNotConnectedException", 400, ecs.execute_command, **request)
    endpoint = ec2.create_vpc_endpoint(
        VpcId=subnet["VpcId"],
        ServiceName="com.amazonaws.us-east-1.ssmmessages",
        VpcEndpointType="Interface",
        SubnetIds=[subnet["SubnetId"]],
        SecurityGroupIds=[group],
        PrivateDnsEnabled=False,
    )["VpcEndpoint"]
    refused("TargetNotConnectedException", 400, ecs.execute_command, **request)
    ec2.modify_vpc_endpoint(VpcEndpointId=endpoint["VpcEndpointId"], PrivateDnsEnabled=True)
    by_service = [{"Name": "service-name", "Values": [endpoint["ServiceName"]]}]
    (shown,) = ec2.describe_vpc_endpoints(Filters=by_service)["VpcEndpoints"]
    assert shown["PrivateDnsEnabled"] is True
    assert shown["Groups"][0]["GroupId"] == group
    assert ecs.execute_command(**request)["session"]["sessionId"]

    rule = [{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "10.0.0.0/16"}]}]
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=rule)
    ec2.authorize_security_group_egress(GroupId=group, IpPermissions=rule)
    (found,) = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
    for rules in (found["IpPermissions"], found["IpPermissionsEgress"]):
        assert any(one.get("FromPort") == 443 and one["IpRanges"] == [{"CidrIp": "10.0.0.0/16"}] for one in rules)
    again = {"GroupId": group, "IpPermissions": rule}
    refused("InvalidPermission.Duplicate", 400, ec2.authorize_security_group_ingress, **again)
    refused("InvalidGroup.NotFound", 400, ec2.describe_security_groups, GroupIds=["sg-0"])


def test_the_healthy_network_has_a_way_out(own):
    ec2 = own()("ec2")
    (table,) = ec2.describe_route_tables()["RouteTables"]
    gateways = [route.get("NatGatewayId") for route in table["Routes"] if route["DestinationCidrBlock"] == "0.0.0.0/0"]
    (gateway,) = ec2.describe_nat_gateways(NatGatewayIds=gateways)["NatGateways"]
    assert gateway["State"] == "available"
