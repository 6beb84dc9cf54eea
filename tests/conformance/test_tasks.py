"""The life of tasks: how they start, what stops them, and every way in which RunTask can fail.

What is asked for by control calls is used up by the next call, so these tests have a sandbox of their own.
"""

import tempfile
import time
import uuid

import pytest
from botocore.exceptions import ClientError

import conftest
from test_behaviours import SLEEP, STATES, refused
from test_control import control, own  # noqa: F401  (a fixture)
from world import World, eventually, task_id

FAST = "100"


@pytest.fixture(scope="module")
def fast(bowline):
    """A sandbox whose clock runs a hundred times as fast, for all tests of this file."""
    import boto3
    from botocore.config import Config

    with tempfile.TemporaryDirectory(prefix="bowline-tasks-") as place:
        sandbox = conftest.Started(bowline, place, "--fast-clock", FAST)

        def make(service, *, config=None):
            quick = Config(connect_timeout=10, read_timeout=30, retries={"total_max_attempts": 1})
            return boto3.client(
                service,
                endpoint_url=sandbox.env["BOWLINE_ENDPOINT"],
                region_name=sandbox.env["AWS_REGION"],
                aws_access_key_id=sandbox.env["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=sandbox.env["AWS_SECRET_ACCESS_KEY"],
                config=quick.merge(config) if config else quick,
            )

        try:
            yield World(sandbox.env, make)
        finally:
            sandbox.stop()


def define(world, *containers, **more):
    """A definition on Fargate with these containers."""
    family = f"judge-{uuid.uuid4().hex[:8]}"
    filled = [{"image": "judge", **container} for container in containers]
    request = {
        "family": family,
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "256",
        "memory": "512",
        "taskRoleArn": "arn:aws:iam::123456789012:role/judge",
        **more,
    }
    world.ecs.register_task_definition(containerDefinitions=filled, **request)
    return family


def start(world, family, **more):
    (task,) = world.ecs.run_task(**world.run_request(taskDefinition=family, **more))["tasks"]
    return task["taskArn"]


def stopped(world, arn):
    task = world.wait_status(arn, "STOPPED")
    return task, {container["name"]: container for container in task["containers"]}


def shell(name, script, **more):
    return {"name": name, "command": ["sh", "-c", script], **more}


def asked(world, operation, /, **members):
    status, answer = control(world, operation, **members)
    assert status == 200, answer
    return answer


FAILURES = [
    "RESOURCE:CPU",
    "RESOURCE:MEMORY",
    "RESOURCE:ENI",
    "RESOURCE:PORTS",
    "RESOURCE:GPU",
    "AGENT",
    "ATTRIBUTE",
    "LOCATION",
    "MemberOf placement constraint unsatisfied.",
    "EMPTY CAPACITY PROVIDER",
    "NO ACTIVE INSTANCES",
    "MISSING",
    "INACTIVE",
]


def test_run_task_answers_200_with_every_failure(fast):
    for reason in FAILURES:
        asked(fast, "FailRunTask", reason=reason, detail="because")
        answer = fast.ecs.run_task(**fast.run_request(SLEEP))
        assert answer["tasks"] == []
        (failure,) = answer["failures"]
        assert (failure["reason"], failure["detail"]) == (reason, "because")
        if reason.startswith("RESOURCE"):
            assert ":container-instance/demo/" in failure["arn"]
    asked(fast, "FailRunTask", reason="capacity")
    (failure,) = fast.ecs.run_task(**fast.run_request(SLEEP))["failures"]
    assert failure["reason"].startswith("Capacity is unavailable at this time.")


def test_some_of_several_tasks_may_fail_and_a_token_survives_failure(fast):
    asked(fast, "FailRunTask", reason="quota")
    answer = fast.ecs.run_task(**fast.run_request(["true"], count=3))
    assert (len(answer["tasks"]), len(answer["failures"])) == (2, 1)
    request = fast.run_request(["true"], clientToken=uuid.uuid4().hex)
    asked(fast, "FailRunTask", reason="RESOURCE:ENI")
    assert fast.ecs.run_task(**request)["tasks"] == []
    assert len(fast.ecs.run_task(**request)["tasks"]) == 1


CODES = [
    ("ServerException", 500),
    ("ClientException", 400),
    ("InvalidParameterException", 400),
    ("ClusterNotFoundException", 400),
    ("UnsupportedFeatureException", 400),
    ("PlatformUnknownException", 400),
    ("PlatformTaskDefinitionIncompatibilityException", 400),
    ("AccessDeniedException", 400),
    ("BlockedException", 400),
    ("ThrottlingException", 400),
]


@pytest.mark.parametrize("code, status", CODES)
def test_every_error_can_be_had(fast, code, status):
    asked(fast, "FailNext", operation="RunTask", code=code)
    with pytest.raises(ClientError) as caught:
        fast.ecs.run_task(**fast.run_request(["true"]))
    error = caught.value.response
    assert error["Error"]["Code"] == code and error["Error"]["Message"]
    assert error["ResponseMetadata"]["HTTPStatusCode"] == status
    assert error["ResponseMetadata"]["RequestId"]
    fast.run(["true"])


def test_failures_by_control_are_counted_and_checked(fast):
    asked(fast, "FailNext", operation="GetLogEvents", code="ThrottlingException", count=2, message="slower")
    for _ in range(2):
        text = refused("ThrottlingException", fast.logs.get_log_events, logGroupName="g", logStreamName="s")
        assert text == "slower"
    refused("ResourceNotFoundException", fast.logs.get_log_events, logGroupName="g", logStreamName="s")
    for operation, members in [
        ("FailNext", {"operation": "RunTask", "code": "X", "status": 200}),
        ("FailNext", {"operation": "RunTask", "code": "X", "count": 0}),
        ("FailRunTask", {"reason": "AGENT", "count": 0}),
        ("EndTask", {"cluster": "demo", "task": "0" * 32, "stopCode": "Nope"}),
        ("KillContainer", {"cluster": "demo", "task": "0" * 32}),
        ("SetTaskDelay", {"seconds": -1}),
    ]:
        status, answer = control(fast, operation, **members)
        assert (status, answer["__type"]) == (400, "InvalidParameterException"), operation


def test_real_refusals_of_run_task(fast):
    def no(code, **more):
        refused(code, fast.lenient_ecs.run_task, **fast.run_request(["true"], **more))

    no("PlatformUnknownException", platformVersion="9.9.9")
    no("PlatformTaskDefinitionIncompatibilityException", platformVersion="1.3.0", enableExecuteCommand=True)
    no("InvalidParameterException", propagateTags="SERVICE")
    no("InvalidParameterException", startedBy="no spaces please")
    no("InvalidParameterException", startedBy="x" * 129)
    no("InvalidParameterException", clientToken="x" * 65)
    no("InvalidParameterException", group="service:web")
    no("InvalidParameterException", tags=[{"key": f"k{n}", "value": ""} for n in range(51)])
    no("InvalidParameterException", placementConstraints=[{"type": "distinctInstance"}] * 11)
    no("InvalidParameterException", placementStrategy=[{"type": "random"}] * 6)
    no("ClusterNotFoundException", cluster="nope")
    no("ClientException", overrides={"cpu": "300"})
    no("InvalidParameterException", overrides={"ephemeralStorage": {"sizeInGiB": 1}})
    long = {"containerOverrides": [{"name": "app", "command": ["x" * 8192]}]}
    no("InvalidParameterException", overrides=long)
    roleless = define(fast, shell("app", "true"), taskRoleArn="")
    other = define(fast, shell("app", "true"), requiresCompatibilities=["EC2"])
    no("InvalidParameterException", taskDefinition=other)
    no("InvalidParameterException", taskDefinition=roleless, overrides={}, enableExecuteCommand=True)
    inactive = fast.ecs.describe_task_definition(taskDefinition=roleless)["taskDefinition"]["taskDefinitionArn"]
    fast.ecs.deregister_task_definition(taskDefinition=inactive)
    no("ClientException", taskDefinition=inactive)


def test_capacity_providers_belong_to_clusters(fast):
    answer = fast.ecs.describe_capacity_providers(capacityProviders=["FARGATE_SPOT", "nope"])
    assert [(p["name"], p["status"]) for p in answer["capacityProviders"]] == [("FARGATE_SPOT", "ACTIVE")]
    assert answer["failures"][0]["reason"] == "MISSING"
    name = f"judge-{uuid.uuid4().hex[:8]}"
    fast.ecs.create_cluster(clusterName=name)
    request = fast.run_request(["true"], cluster=name)
    del request["launchType"]
    spot = [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]
    # Neither a launch type nor a strategy: EC2, and there is no instance.
    no_instance = "No Container Instances were found in your cluster."
    refused("InvalidParameterException", fast.ecs.run_task, no_instance, **request)
    refused("InvalidParameterException", fast.ecs.run_task, **request, capacityProviderStrategy=spot)
    put = fast.ecs.put_cluster_capacity_providers
    refused(
        "InvalidParameterException", put, cluster=name, capacityProviders=[], defaultCapacityProviderStrategy=spot
    )
    put(cluster=name, capacityProviders=["FARGATE_SPOT"], defaultCapacityProviderStrategy=spot)
    (task,) = fast.ecs.run_task(**request)["tasks"]
    assert task["capacityProviderName"] == "FARGATE_SPOT"
    fast.ecs.stop_task(cluster=name, task=task["taskArn"])


def test_overrides_are_merged_and_shown(fast):
    family = define(
        fast,
        {
            **shell("app", "echo from the definition"),
            "environment": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
            "logConfiguration": {
                "logDriver": "awslogs",
                "options": {
                    "awslogs-group": "/judge/overrides",
                    "awslogs-region": "us-east-1",
                    "awslogs-stream-prefix": "p",
                    "awslogs-create-group": "true",
                },
            },
        },
        tags=[{"key": "from", "value": "definition"}, {"key": "kept", "value": "yes"}],
    )
    overrides = {
        "cpu": "512",
        "memory": "1024",
        "taskRoleArn": "arn:aws:iam::123456789012:role/other",
        "executionRoleArn": "arn:aws:iam::123456789012:role/starter",
        "ephemeralStorage": {"sizeInGiB": 30},
        "containerOverrides": [
            {
                "name": "app",
                "command": ["sh", "-c", 'echo "$A $B $C | $1 | $2"', "sh", "two words", ""],
                "environment": [{"name": "B", "value": "two"}, {"name": "C", "value": "$A"}],
                "memory": 256,
            }
        ],
    }
    tags = [{"key": "from", "value": "call"}]
    more = {"tags": tags, "propagateTags": "TASK_DEFINITION", "enableECSManagedTags": True, "group": "mine"}
    arn = start(fast, family, overrides=overrides, **more)
    task, containers = stopped(fast, arn)
    assert (task["cpu"], task["memory"], task["group"]) == ("512", "1024", "mine")
    assert task["ephemeralStorage"] == {"sizeInGiB": 30}
    assert containers["app"]["memory"] == "256"
    shown = task["overrides"]
    assert shown["taskRoleArn"].endswith("/other") and shown["executionRoleArn"].endswith("/starter")
    assert shown["containerOverrides"] == overrides["containerOverrides"]
    found = {tag["key"]: tag["value"] for tag in fast.describe(arn, include=["TAGS"])["tags"]}
    assert found == {"from": "call", "kept": "yes", "aws:ecs:clusterName": "demo"}
    lines = fast.log_lines("/judge/overrides", f"p/app/{task_id(arn)}", until="1 two")
    assert lines == ["1 two $A | two words | "]


def test_b20_states_and_times_of_a_slow_start(own):  # noqa: F811
    # Fifteen minutes of pulling, on a clock that makes them less than two seconds.
    world = own("--scenario", "pull=900", "--fast-clock", "600")
    began = time.monotonic()
    arn = world.run(["sh", "-c", "exit 0"])["taskArn"]
    seen = []

    def over():
        seen.append(world.describe(arn)["lastStatus"])
        return seen[-1] == "STOPPED"

    eventually("the task is STOPPED", over, pause=0.02)
    assert time.monotonic() - began > 1
    assert seen == sorted(seen, key=STATES.index)
    assert seen.count("PENDING") > 10
    task = world.describe(arn)
    names = ["createdAt", "pullStartedAt", "pullStoppedAt", "startedAt", "stoppingAt", "executionStoppedAt", "stoppedAt"]
    times = [task[name] for name in names]
    assert times == sorted(times)


def test_b21_the_essential_container_decides(fast):
    family = define(
        fast,
        shell("side", "exit 4", essential=False),
        shell("main", "sleep 0.3; exit 9"),
        shell("other", "trap 'exit 0' TERM; while :; do sleep 0.05; done"),
        shell("deaf", "exec sleep 600", stopTimeout=2),
    )
    task, containers = stopped(fast, start(fast, family))
    codes = {name: container["exitCode"] for name, container in containers.items()}
    assert codes == {"side": 4, "main": 9, "other": 0, "deaf": 143}
    assert task["stopCode"] == "EssentialContainerExited"


def test_b22_sigterm_then_sigkill_after_the_stop_timeout(fast):
    deaf = "trap '' TERM; echo up; while :; do sleep 0.05; done"
    quick = {"stopTimeout": 1}
    interrupted = {"dockerLabels": {"bowline.sandbox.stop-signal": "SIGINT"}}
    family = define(
        fast,
        shell("deaf", deaf, **quick),
        # A signal handler that says which signal it was.
        shell("int", "trap 'exit 40' TERM; trap 'exit 41' INT; while :; do sleep 0.05; done", **interrupted),
    )
    arn = start(fast, family)
    fast.wait_status(arn, "RUNNING")
    began = time.monotonic()
    fast.ecs.stop_task(cluster="demo", task=arn)
    task, containers = stopped(fast, arn)
    assert time.monotonic() - began >= 1
    assert {name: c["exitCode"] for name, c in containers.items()} == {"deaf": 137, "int": 41}
    assert (task["stopCode"], task["stoppedReason"]) == ("UserInitiated", "Task stopped by user")


def test_b22_a_task_that_is_stopped_before_it_runs(own):  # noqa: F811
    world = own("--scenario", "pull=900")
    arn = world.run(SLEEP)["taskArn"]
    world.wait_status(arn, "PENDING")
    world.ecs.stop_task(cluster="demo", task=arn, reason="too slow")
    task, containers = stopped(world, arn)
    assert (task["stopCode"], task["stoppedReason"]) == ("UserInitiated", "too slow")
    assert "startedAt" not in task
    assert "exitCode" not in containers["app"] and "runtimeId" not in containers["app"]


@pytest.mark.parametrize(
    "word, begins, pulled",
    [
        ("pull", "CannotPullContainerError: ", True),
        ("resources", "ResourceInitializationError: ", False),
        ("start", "CannotStartContainerError: ", True),
        ("CannotCreateContainerError: no space left on device", "CannotStartContainerError: CannotCreate", True),
    ],
)
def test_b23_tasks_that_cannot_start(fast, word, begins, pulled):
    asked(fast, "FailStart", reason=word)
    task, containers = stopped(fast, fast.run(["true"])["taskArn"])
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["stoppedReason"].startswith(begins)
    assert "startedAt" not in task
    assert ("pullStartedAt" in task) == pulled
    assert containers["app"]["reason"] == task["stoppedReason"]
    assert "exitCode" not in containers["app"]


def test_a_missing_log_group_keeps_a_task_from_starting(fast):
    options = {"awslogs-group": "/no/such", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "p"}
    logs = {"logConfiguration": {"logDriver": "awslogs", "options": options}}
    task, _ = stopped(fast, start(fast, define(fast, shell("app", "true", **logs))))
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["stoppedReason"].startswith("ResourceInitializationError: failed to validate logger args")
    # Other drivers are taken, and store nothing.
    other = {"logConfiguration": {"logDriver": "splunk", "options": {"splunk-token": "x"}}}
    _, containers = stopped(fast, start(fast, define(fast, shell("app", "echo x", **other))))
    assert containers["app"]["exitCode"] == 0


def test_out_of_memory_and_ends_by_aws(fast):
    arn = fast.run(SLEEP)["taskArn"]
    fast.wait_status(arn, "RUNNING")
    asked(fast, "KillContainer", cluster="demo", task=arn)
    task, containers = stopped(fast, arn)
    assert containers["app"]["exitCode"] == 137
    assert containers["app"]["reason"] == "OutOfMemoryError: Container killed due to memory usage"
    assert task["stopCode"] == "EssentialContainerExited"
    for code, reason in [
        ("SpotInterruption", "Your Spot Task was interrupted."),
        ("TerminationNotice", "Host EC2 (instance i-0a1b2c3d4e5f60001) terminated."),
    ]:
        arn = fast.run(SLEEP)["taskArn"]
        fast.wait_status(arn, "RUNNING")
        asked(fast, "EndTask", cluster="demo", task=arn, stopCode=code)
        task, containers = stopped(fast, arn)
        assert (task["stopCode"], task["stoppedReason"]) == (code, reason)
        assert containers["app"]["exitCode"] == 143


def test_containers_wait_for_what_they_depend_on(fast):
    mark = f"/tmp/bowline-judge-{uuid.uuid4().hex}"
    family = define(
        fast,
        shell(
            "main",
            f"test -e {mark} && rm {mark} && exit 6",
            dependsOn=[
                {"containerName": "init", "condition": "SUCCESS"},
                {"containerName": "side", "condition": "HEALTHY"},
            ],
        ),
        shell("init", "sleep 0.2; exit 0", essential=False),
        shell(
            "side",
            f"trap 'exit 0' TERM; sleep 0.4; touch {mark}; while :; do sleep 0.05; done",
            healthCheck={"command": ["CMD-SHELL", f"test -e {mark}"], "interval": 5, "retries": 10},
        ),
    )
    task, containers = stopped(fast, start(fast, family))
    assert {name: c["exitCode"] for name, c in containers.items()} == {"main": 6, "init": 0, "side": 0}
    assert containers["side"]["healthStatus"] == "HEALTHY"

    failing = define(
        fast,
        shell("main", "exit 0", dependsOn=[{"containerName": "init", "condition": "SUCCESS"}]),
        shell("init", "exit 3", essential=False),
    )
    task, containers = stopped(fast, start(fast, failing))
    assert task["stopCode"] == "TaskFailedToStart"
    assert containers["init"]["exitCode"] == 3 and "exitCode" not in containers["main"]
    with pytest.raises(ClientError):
        define(fast, shell("main", "true", dependsOn=[{"containerName": "main", "condition": "START"}]))


def test_unhealthy_tasks_go_on_unless_a_service_has_them(fast):
    check = {"command": ["CMD", "false"], "interval": 5, "retries": 2}
    family = define(fast, shell("app", "exec sleep 600", healthCheck=check))
    arn = start(fast, family)
    eventually("the task is UNHEALTHY", lambda: fast.describe(arn)["healthStatus"] == "UNHEALTHY")
    assert fast.describe(arn)["lastStatus"] == "RUNNING"
    fast.ecs.stop_task(cluster="demo", task=arn)

    network = fast.service()["networkConfiguration"]
    fast.ecs.create_service(
        cluster="demo", serviceName="sick", taskDefinition=family, desiredCount=1, networkConfiguration=network,
        launchType="FARGATE",
    )

    def replaced():
        arns = fast.ecs.list_tasks(cluster="demo", family=family, desiredStatus="STOPPED")["taskArns"]
        tasks = fast.ecs.describe_tasks(cluster="demo", tasks=arns)["tasks"] if arns else []
        return [t for t in tasks if t.get("stoppedReason") == "Task failed container health checks"]

    assert eventually("a sick task is replaced", replaced)
    fast.ecs.delete_service(cluster="demo", service="sick", force=True)


def test_b16_a_task_is_missing_right_after_run_task_if_asked_for(own):  # noqa: F811
    world = own("--scenario", "late-tasks=1000")
    arn = world.run(["true"])["taskArn"]
    (failure,) = world.ecs.describe_tasks(cluster="demo", tasks=[arn])["failures"]
    assert (failure["reason"], failure["arn"]) == ("MISSING", arn)
    assert arn not in world.ecs.list_tasks(cluster="demo")["taskArns"]
    asked(world, "AdvanceClock", seconds=1001)
    world.wait_status(arn, "STOPPED")
    # And an hour after its end it is gone.
    asked(world, "AdvanceClock", seconds=3601)
    (failure,) = world.ecs.describe_tasks(cluster="demo", tasks=[arn])["failures"]
    assert failure["reason"] == "MISSING"


def test_scenarios_make_every_run_fail(own):  # noqa: F811
    world = own(
        "--scenario", "run-failure=capacity", "--scenario", "fail=StopTask:AccessDeniedException",
    )
    for _ in range(2):
        answer = world.ecs.run_task(**world.run_request(["true"]))
        assert answer["tasks"] == [] and answer["failures"][0]["reason"].startswith("Capacity is unavailable")
        refused("AccessDeniedException", world.ecs.stop_task, cluster="demo", task="0" * 32)
    world = own("--scenario", "start-failure=pull")
    for _ in range(2):
        task, _ = stopped(world, world.run(["true"])["taskArn"])
        assert task["stoppedReason"].startswith("CannotPullContainerError")


def test_fifty_short_tasks_all_end_right(fast):
    arns = {}
    for number in range(50):
        script = f"sleep 0.{number % 20:02}; exit {number}"
        arns[fast.run(["sh", "-c", script])["taskArn"]] = number
    for arn, number in arns.items():
        _, containers = stopped(fast, arn)
        assert containers["app"]["exitCode"] == number
