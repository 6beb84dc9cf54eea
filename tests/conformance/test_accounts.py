"""More accounts and regions of one sandbox, judged with boto3 and the AWS CLI: who lists, assumes and sees what."""

import json
import subprocess
import tempfile

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

import conftest

OPTIONS = ["fleet=3:1", "accounts=3", "denied-account=2", "regions=eu-west-1"]


@pytest.fixture(scope="module")
def sandbox(bowline):
    with tempfile.TemporaryDirectory(prefix="bowline-accounts-") as place:
        words = [word for option in OPTIONS for word in ("--scenario", option)]
        started = conftest.Started(bowline, place, *words)
        yield started
        started.process.terminate()
        started.process.wait(timeout=30)


def client(sandbox, service, region="us-east-1", keys=None):
    keys = keys or {
        "AccessKeyId": sandbox.env["AWS_ACCESS_KEY_ID"],
        "SecretAccessKey": sandbox.env["AWS_SECRET_ACCESS_KEY"],
        "SessionToken": None,
    }
    return boto3.client(
        service,
        endpoint_url=sandbox.env["BOWLINE_ENDPOINT"],
        region_name=region,
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
        config=Config(retries={"total_max_attempts": 1}),
    )


def assumed(sandbox, account, role="operations"):
    arn = f"arn:aws:iam::{account}:role/{role}"
    answer = client(sandbox, "sts").assume_role(RoleArn=arn, RoleSessionName="test")
    assert answer["AssumedRoleUser"]["Arn"].startswith(f"arn:aws:sts::{account}:assumed-role/{role}/")
    return answer["Credentials"]


def test_the_organization_and_its_regions_are_listed(sandbox):
    accounts = client(sandbox, "organizations").list_accounts()["Accounts"]
    assert [account["Name"] for account in accounts] == ["sandbox", "account-001", "account-002", "account-003"]
    assert {account["Status"] for account in accounts} == {"ACTIVE"}
    regions = client(sandbox, "ec2").describe_regions()["Regions"]
    assert [region["RegionName"] for region in regions] == ["us-east-1", "eu-west-1"]


def test_each_account_and_region_has_a_world_of_its_own(sandbox):
    accounts = client(sandbox, "organizations").list_accounts()["Accounts"]
    keys = assumed(sandbox, accounts[1]["Id"])
    identity = client(sandbox, "sts", keys=keys).get_caller_identity()
    assert identity["Account"] == accounts[1]["Id"]
    seen = []
    for region in ("us-east-1", "eu-west-1"):
        for who in (None, keys):
            ecs = client(sandbox, "ecs", region, who)
            tasks = ecs.list_tasks(cluster="demo", serviceName="fleet")["taskArns"]
            assert len(tasks) == 3
            owner = accounts[1]["Id"] if who else accounts[0]["Id"]
            assert all(arn.startswith(f"arn:aws:ecs:{region}:{owner}:task/demo/") for arn in tasks)
            described = ecs.describe_tasks(cluster="demo", tasks=tasks, include=["TAGS"])["tasks"]
            fates = sorted(tag["value"] for task in described for tag in task["tags"])
            assert fates == ["fails", "fine", "fine"]
            seen += tasks
    assert len(set(seen)) == 12


def test_what_may_not_be_is_refused(sandbox):
    accounts = client(sandbox, "organizations").list_accounts()["Accounts"]
    for account, role in ((accounts[2]["Id"], "operations"), (accounts[1]["Id"], "other"), ("999999999999", "operations")):
        with pytest.raises(ClientError) as refused:
            assumed(sandbox, account, role)
        assert refused.value.response["Error"]["Code"] == "AccessDenied"
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    keys = assumed(sandbox, accounts[1]["Id"])
    for wrong in ({"SessionToken": "x"}, {"SessionToken": None}, {"SecretAccessKey": "x"}):
        with pytest.raises(ClientError) as refused:
            client(sandbox, "ecs", keys={**keys, **wrong}).list_clusters()
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 403)


def test_a_role_of_the_configuration_file_works_for_the_aws_cli(sandbox, tmp_path):
    accounts = client(sandbox, "organizations").list_accounts()["Accounts"]
    config = tmp_path / "config"
    config.write_text(
        "[profile base]\n"
        f"aws_access_key_id = {sandbox.env['AWS_ACCESS_KEY_ID']}\n"
        f"aws_secret_access_key = {sandbox.env['AWS_SECRET_ACCESS_KEY']}\n"
        "[profile other]\nsource_profile = base\n"
        f"role_arn = arn:aws:iam::{accounts[3]['Id']}:role/operations\n"
    )
    env = {name: value for name, value in sandbox.env.items() if not name.startswith("AWS_ACCESS") and not name.startswith("AWS_SECRET")}
    env |= {"AWS_CONFIG_FILE": str(config), "PATH": conftest.OUTSIDE["PATH"], "HOME": str(tmp_path)}
    words = ["aws", "--profile", "other", "--region", "eu-west-1", "ecs", "list-services", "--cluster", "demo"]
    answer = subprocess.run(words, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 0, answer.stderr
    arns = json.loads(answer.stdout)["serviceArns"]
    assert arns == [f"arn:aws:ecs:eu-west-1:{accounts[3]['Id']}:service/demo/fleet"]
