"""bowline and the AWS CLI say the same about one world file."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Started

WORLD = Path(__file__).parents[2] / "examples" / "worlds" / "shop.yaml"
CLUSTER = "shop-prod"


@pytest.fixture(scope="module")
def shop(bowline, tmp_path_factory):
    """Two programs on one sandbox: each takes words and answers its JSON."""
    started = Started(bowline, tmp_path_factory.mktemp("shop"), "--world", str(WORLD))
    env = {**started.env, "HOME": str(started.home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "AWS_PAGER": ""}

    def runner(*program):
        def run(*words, code=0):
            done = subprocess.run(
                [*program, *words], env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=120
            )
            assert done.returncode == code, (words, done.stdout, done.stderr)
            return done.stderr.decode() if code else json.loads(done.stdout)

        return run

    aws = runner(sys.executable, str(Path(sys.executable).with_name("aws")), "ecs")
    own = runner(bowline, "-c", CLUSTER, "-o", "json")
    yield aws, own
    started.stop()


def same(theirs, ours, names):
    for name in names:
        assert ours.get(name) == theirs.get(name), name


def test_services(shop):
    aws, own = shop
    arns = aws("list-services", "--cluster", CLUSTER)["serviceArns"]
    assert sorted(arns) == [s["serviceArn"] for s in own("ls", "services")["services"]]
    (theirs,) = aws("describe-services", "--cluster", CLUSTER, "--services", "api-1", "--include", "TAGS")["services"]
    (ours,) = own("describe", "api-1")["services"]
    same(theirs, ours, ["serviceName", "status", "desiredCount", "runningCount", "taskDefinition", "launchType"])
    same(theirs, ours, ["enableExecuteCommand", "platformVersion"])
    same(
        theirs["deployments"][0],
        ours["deployments"][0],
        ["id", "status", "desiredCount", "runningCount", "failedTasks", "rolloutState", "rolloutStateReason"],
    )
    assert [e["message"] for e in theirs["events"]] == [e["message"] for e in ours["events"]]
    assert {t["key"]: t["value"] for t in theirs["tags"]} == ours["tags"]


def test_tasks(shop):
    aws, own = shop
    arns = aws("list-tasks", "--cluster", CLUSTER)["taskArns"]
    assert sorted(arns) == sorted(t["taskArn"] for t in own("ls", "tasks")["tasks"])
    theirs = aws("describe-tasks", "--cluster", CLUSTER, "--tasks", *arns)["tasks"]
    ours = {t["taskArn"]: t for t in own("ls", "tasks")["tasks"]}
    for task in theirs:
        mine = ours[task["taskArn"]]
        same(task, mine, ["group", "lastStatus", "desiredStatus", "healthStatus", "taskDefinitionArn", "startedBy"])
        for one, other in zip(task["containers"], mine["containers"], strict=True):
            same(one, other, ["name", "image", "runtimeId", "lastStatus", "healthStatus", "containerArn"])


def test_definitions(shop):
    aws, own = shop
    theirs = aws("describe-task-definition", "--task-definition", "web")["taskDefinition"]
    (ours,) = own("describe", "family", "web")["taskDefinitions"]
    same(theirs, ours, ["taskDefinitionArn", "family", "revision", "status", "networkMode", "cpu", "memory", "taskRoleArn"])
    for one, other in zip(theirs["containerDefinitions"], ours["containerDefinitions"], strict=True):
        same(one, other, ["name", "image", "essential", "command", "memory", "memoryReservation", "user"])
        assert one.get("secrets", []) == other["secrets"]
        assert one["mountPoints"] == other["mountPoints"]
        assert one["logConfiguration"] == other["logConfiguration"]
        assert [v["name"] for v in one["environment"]] == [v["name"] for v in other["environment"]]
    efs = theirs["volumes"][0]["efsVolumeConfiguration"]
    mine = ours["volumes"][0]["efs"]
    assert efs["fileSystemId"] == mine["fileSystemId"]
    assert efs["authorizationConfig"]["accessPointId"] == mine["accessPointId"]
    # The one value that looks like a secret.
    assert "not-a-real-token" in json.dumps(theirs)
    assert "not-a-real-token" not in json.dumps(ours)


def test_a_stop_is_seen_by_both(shop):
    aws, own = shop
    arn = aws("list-tasks", "--cluster", CLUSTER, "--service-name", "api-2")["taskArns"][0]
    (stopped,) = own("stop", arn, "--yes", "--reason", "from bowline")["tasks"]
    assert stopped["taskArn"] == arn
    (task,) = aws("describe-tasks", "--cluster", CLUSTER, "--tasks", arn)["tasks"]
    assert (task["desiredStatus"], task["stoppedReason"]) == ("STOPPED", "from bowline")


@pytest.mark.parametrize("rollback", ["false", "true"])
def test_a_deployment_that_the_circuit_breaker_ends_fails_the_restart(shop, rollback):
    aws, own = shop
    network = "awsvpcConfiguration={subnets=[subnet-0a1b2c3d4e5f60001]}"
    # Nothing of this name is anywhere: its tasks fail before they run.
    container = {"name": "app", "image": "x", "command": ["no-such-program"]}
    aws(
        "register-task-definition", "--family", "broken", "--network-mode", "awsvpc",
        "--container-definitions", json.dumps([container]),
    )  # fmt: skip
    name = f"fragile-{rollback}"
    aws(
        "create-service", "--cluster", CLUSTER, "--service-name", name, "--task-definition", "broken",
        "--desired-count", "1", "--launch-type", "FARGATE", "--network-configuration", network,
        "--deployment-configuration", f"deploymentCircuitBreaker={{enable=true,rollback={rollback}}}",
    )  # fmt: skip
    said = own("service", "restart", name, "--yes", "--wait", "--timeout", "60s", code=1)
    assert "circuit breaker: tasks failed to start" in said, said
    (service,) = own("describe", name)["services"]
    assert service["circuitBreaker"] is True
    assert service["rollback"] is (rollback == "true")
    assert service["deployments"][0]["failedTasks"] >= 3
