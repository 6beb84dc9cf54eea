"""Behaviours of ECS, SSM and STS, one test per id, judged with boto3.

Texts are compared only where the service's own
wording is known; elsewhere the error code decides.
"""

import json
import re
import time
import urllib.parse
import uuid

import pytest
from botocore.exceptions import ClientError

from world import ECS_TARGET, error_name, eventually, ssm_target, task_id

SLEEP = ["sleep", "600"]
NOT_ENABLED = (
    "The execute command failed because execute command was not enabled when the task was run "
    "or the execute command agent isn"
)
STATES = [
    "PROVISIONING",
    "PENDING",
    "ACTIVATING",
    "RUNNING",
    "DEACTIVATING",
    "STOPPING",
    "DEPROVISIONING",
    "STOPPED",
]


def refused(code, call, /, text=None, **request):
    """The call fails with that error code, and that text if one is given."""
    with pytest.raises(ClientError) as caught:
        call(**request)
    error = caught.value.response
    assert error["Error"]["Code"] == code, error
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 400, error
    if text is not None:
        assert error["Error"]["Message"] == text
    return error["Error"].get("Message", "")


@pytest.fixture
def run(world):
    """Starts tasks and stops whatever the test leaves running."""
    arns = []

    def start(command, **more):
        task = world.run(command, **more)
        arns.append(task["taskArn"])
        return task

    yield start
    for arn in arns:
        world.ecs.stop_task(cluster="demo", task=arn)


def test_b01_sts_over_the_query_protocol(world):
    identity = world.sts.get_caller_identity()
    assert re.fullmatch(r"\d{12}", identity["Account"])
    assert re.fullmatch(rf"arn:aws[a-z-]*:(iam|sts)::{identity['Account']}:.+", identity["Arn"])
    assert identity["UserId"]


def test_b02_unknown_operation_and_malformed_json_are_json_errors(world):
    for target, body, name in (
        (f"{ECS_TARGET}.Nope", "{}", "UnknownOperationException"),
        (f"{ECS_TARGET}.ListClusters", "{", "SerializationException"),
    ):
        status, headers, answer = world.raw(target, body)
        assert status == 400, answer
        assert headers["x-amzn-RequestId"]
        assert headers["content-type"].startswith("application/x-amz-json-1.1")
        assert error_name(answer) == name


def test_b03_every_response_has_its_own_request_id(world):
    ids = [world.ecs.list_clusters()["ResponseMetadata"]["RequestId"] for _ in range(2)]
    ids.append(world.sts.get_caller_identity()["ResponseMetadata"]["RequestId"])
    ids.append(world.ssm.describe_sessions(State="Active")["ResponseMetadata"]["RequestId"])
    assert all(ids)
    assert len(set(ids)) == len(ids)


def test_b04_times_are_numbers_and_absent_is_absent(world):
    arns = [task["taskArn"] for task in world.web_tasks()]
    status, _, body = world.raw_ecs("DescribeTasks", {"cluster": "demo", "tasks": arns})
    assert status == 200, body
    answer = json.loads(body)
    now = time.time()
    for task in answer["tasks"]:
        created = task["createdAt"]
        assert isinstance(created, (int, float)) and not isinstance(created, bool)
        assert now - 86400 < created <= now + 5
    assert None not in values_of(answer)


def values_of(document):
    """Every scalar anywhere in a JSON document."""
    if isinstance(document, dict):
        document = list(document.values())
    if isinstance(document, list):
        return [scalar for part in document for scalar in values_of(part)]
    return [document]


def test_b05_list_clusters_honours_max_results(world):
    assert len(world.ecs.list_clusters(maxResults=1)["clusterArns"]) <= 1
    pages = world.ecs.get_paginator("list_clusters").paginate(PaginationConfig={"PageSize": 1})
    arns = [arn for page in pages for arn in page["clusterArns"]]
    assert any(arn.endswith(":cluster/demo") for arn in arns)
    assert len(set(arns)) == len(arns)


def test_b06_describe_clusters_reports_unknown_names_as_failures(world):
    answer = world.ecs.describe_clusters(clusters=["nope", "demo"])
    assert [cluster["clusterName"] for cluster in answer["clusters"]] == ["demo"]
    (failure,) = answer["failures"]
    assert failure["reason"] == "MISSING"
    assert failure["arn"].endswith("cluster/nope")


def test_b07_include_governs_configuration_and_counters_are_true(world):
    world.web_tasks()
    (plain,) = world.ecs.describe_clusters(clusters=["demo"])["clusters"]
    assert "configuration" not in plain
    assert not plain.get("settings")
    assert not plain.get("tags")
    assert plain["status"] == "ACTIVE"
    assert plain["activeServicesCount"] >= 1

    def counted():
        listed = [
            task
            for arns in [world.ecs.list_tasks(cluster="demo")["taskArns"]]
            for task in world.ecs.describe_tasks(cluster="demo", tasks=arns)["tasks"]
        ]
        (cluster,) = world.ecs.describe_clusters(clusters=["demo"])["clusters"]
        running = [task for task in listed if task["lastStatus"] == "RUNNING"]
        return cluster["runningTasksCount"] == len(running) == len(listed) and running

    eventually("runningTasksCount equals the number of listed tasks", counted)
    world.ecs.describe_clusters(clusters=["demo"], include=["CONFIGURATIONS", "SETTINGS", "TAGS"])


def test_b08_name_and_arn_are_interchangeable(world):
    (cluster,) = world.ecs.describe_clusters(clusters=["demo"])["clusters"]
    (by_arn,) = world.ecs.describe_clusters(clusters=[cluster["clusterArn"]])["clusters"]
    assert by_arn["clusterArn"] == cluster["clusterArn"]

    service = world.service()
    for cluster_form in ("demo", cluster["clusterArn"]):
        for service_form in ("web", service["serviceArn"]):
            answer = world.ecs.describe_services(cluster=cluster_form, services=[service_form])
            assert [found["serviceArn"] for found in answer["services"]] == [service["serviceArn"]]
            tasks = world.ecs.list_tasks(cluster=cluster_form, serviceName=service_form)["taskArns"]
            assert len(tasks) == 2

    arn = world.web_task()["taskArn"]
    for cluster_form in ("demo", cluster["clusterArn"]):
        for task_form in (arn, task_id(arn)):
            answer = world.ecs.describe_tasks(cluster=cluster_form, tasks=[task_form])
            assert [task["taskArn"] for task in answer["tasks"]] == [arn]
            assert answer["failures"] == []


def test_b09_lists_page_and_filter(world):
    services = [
        arn
        for page in world.ecs.get_paginator("list_services").paginate(
            cluster="demo", PaginationConfig={"PageSize": 1}
        )
        for arn in page["serviceArns"]
    ]
    assert any(arn.endswith("service/demo/web") for arn in services)

    tasks = world.web_tasks()
    arns = {task["taskArn"] for task in tasks}
    first = world.ecs.list_tasks(cluster="demo", serviceName="web", maxResults=1)
    assert len(first["taskArns"]) == 1
    second = world.ecs.list_tasks(
        cluster="demo", serviceName="web", maxResults=1, nextToken=first["nextToken"]
    )
    assert set(first["taskArns"] + second["taskArns"]) == arns

    family = world.service()["taskDefinition"].rsplit("/", 1)[1].rsplit(":", 1)[0]
    assert arns <= set(world.ecs.list_tasks(cluster="demo", family=family)["taskArns"])
    assert not arns & set(world.ecs.list_tasks(cluster="demo", family="no-such-family")["taskArns"])
    for launch_type in ("FARGATE", "EC2"):
        listed = set(world.ecs.list_tasks(cluster="demo", launchType=launch_type)["taskArns"])
        assert arns & listed == {t["taskArn"] for t in tasks if t.get("launchType") == launch_type}


def test_b10_describe_services_missing_and_too_many(world):
    answer = world.ecs.describe_services(cluster="demo", services=["nope", "web"])
    assert [service["serviceName"] for service in answer["services"]] == ["web"]
    (failure,) = answer["failures"]
    assert failure["reason"] == "MISSING"
    assert failure["arn"].endswith("/nope")
    refused(
        "InvalidParameterException",
        world.lenient_ecs.describe_services,
        cluster="demo",
        services=[f"s{n}" for n in range(11)],
    )


def test_b11_wrong_cluster_and_wrong_service_name(world):
    for call, request in (
        (world.ecs.list_tasks, {}),
        (world.ecs.list_services, {}),
        (world.ecs.describe_services, {"services": ["web"]}),
        (world.ecs.describe_tasks, {"tasks": ["0" * 32]}),
    ):
        refused("ClusterNotFoundException", call, "Cluster not found.", cluster="nope", **request)
    refused(
        "ServiceNotFoundException",
        world.ecs.list_tasks,
        "Service not found.",
        cluster="demo",
        serviceName="nope",
    )


def test_b12_desired_count_up_and_down(world):
    quick = {"Delay": 1, "MaxAttempts": 60}
    stable = world.ecs.get_waiter("services_stable")
    for count in (3, 2):
        world.ecs.update_service(cluster="demo", service="web", desiredCount=count)
        eventually(
            f"{count} tasks are listed",
            lambda: len(world.ecs.list_tasks(cluster="demo", serviceName="web")["taskArns"]) == count,
        )
        stable.wait(cluster="demo", services=["web"], WaiterConfig=quick)
        service = world.service()
        assert (service["desiredCount"], service["runningCount"], service["pendingCount"]) == (count, count, 0)
        assert [deployment["status"] for deployment in service["deployments"]] == ["PRIMARY"]
        assert service["deployments"][0]["rolloutState"] == "COMPLETED"
    world.web_tasks()


def test_b13_a_new_deployment_replaces_all_tasks(world):
    before = {task["taskArn"] for task in world.web_tasks()}
    old = world.service()["deployments"][0]["id"]
    answer = world.ecs.update_service(cluster="demo", service="web", forceNewDeployment=True)["service"]
    new = answer["deployments"][0]["id"]
    assert new != old and new.startswith("ecs-svc/")
    assert [deployment["status"] for deployment in answer["deployments"]].count("PRIMARY") == 1

    def replaced():
        tasks = world.web_tasks()
        return not before & {task["taskArn"] for task in tasks} and tasks

    tasks = eventually("all tasks are new", replaced)
    assert {task["startedBy"] for task in tasks} == {new}
    eventually("only the new deployment is left", lambda: len(world.service()["deployments"]) == 1)


def test_b14_desired_status_filter(world, run):
    arn = run(["sh", "-c", "exit 0"])["taskArn"]
    world.wait_status(arn, "STOPPED")
    web = {task["taskArn"] for task in world.web_tasks()}

    default = set(world.ecs.list_tasks(cluster="demo")["taskArns"])
    assert web <= default and arn not in default
    stopped = set(world.ecs.list_tasks(cluster="demo", desiredStatus="STOPPED")["taskArns"])
    assert arn in stopped and not web & stopped
    assert world.ecs.list_tasks(cluster="demo", desiredStatus="PENDING")["taskArns"] == []


def test_b15_describe_tasks_bounds(world):
    refused(
        "InvalidParameterException",
        world.lenient_ecs.describe_tasks,
        "Tasks cannot be empty.",
        cluster="demo",
        tasks=[],
    )
    refused(
        "InvalidParameterException",
        world.lenient_ecs.describe_tasks,
        cluster="demo",
        tasks=[uuid.uuid4().hex for _ in range(101)],
    )


def test_b16_known_and_unknown_tasks_mixed(world):
    arn = world.web_task()["taskArn"]
    unknown = uuid.uuid4().hex
    answer = world.ecs.describe_tasks(cluster="demo", tasks=[unknown, arn])
    assert [task["taskArn"] for task in answer["tasks"]] == [arn]
    (failure,) = answer["failures"]
    assert failure["reason"] == "MISSING"
    assert re.fullmatch(rf"arn:aws[a-z-]*:ecs:[a-z0-9-]+:\d{{12}}:task/demo/{unknown}", failure["arn"])


def test_b17_tags_only_with_include(world, run):
    tags = [{"key": "colour", "value": "blue"}]
    arn = run(SLEEP, tags=tags)["taskArn"]
    assert not world.describe(arn).get("tags")
    assert tags[0] in world.describe(arn, include=["TAGS"])["tags"]


def test_b18_shape_of_a_service_task(world):
    for task in world.web_tasks():
        assert re.fullmatch(r"arn:aws[a-z-]*:ecs:[a-z0-9-]+:\d{12}:task/demo/[0-9a-f]{32}", task["taskArn"])
        assert task["group"] == "service:web"
        assert task["startedBy"].startswith("ecs-svc/")
        assert task["enableExecuteCommand"] is True
        (container,) = task["containers"]
        assert container["name"] == "app"
        assert container["lastStatus"] == "RUNNING"
        assert re.fullmatch(r"[0-9a-f]{32}-\d+|[0-9a-f]{64}", container["runtimeId"])
        assert "exitCode" not in container
        (agent,) = [a for a in container["managedAgents"] if a["name"] == "ExecuteCommandAgent"]
        assert agent["lastStatus"] == "RUNNING"
        assert agent["lastStartedAt"]
        definition = world.ecs.describe_task_definition(taskDefinition=task["taskDefinitionArn"])
        if definition["taskDefinition"].get("networkMode") == "awsvpc":
            details = {
                pair["name"]: pair["value"]
                for attachment in task["attachments"]
                for pair in attachment["details"]
            }
            assert {"subnetId", "networkInterfaceId", "privateIPv4Address"} <= set(details)


def test_b19_run_task_answers_at_once(world, run):
    began = time.monotonic()
    task = run(SLEEP)  # checks that failures is []
    assert time.monotonic() - began < 2
    assert task["lastStatus"] in ("PROVISIONING", "PENDING")
    assert task["desiredStatus"] == "RUNNING"
    assert all("exitCode" not in container for container in task["containers"])


def test_b20_states_only_move_forward(world, run):
    task = run(["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"])
    arn = task["taskArn"]
    quick = {"Delay": 1, "MaxAttempts": 60}
    seen = [task]
    world.ecs.get_waiter("tasks_running").wait(cluster="demo", tasks=[arn], WaiterConfig=quick)
    seen.append(world.describe(arn))
    world.ecs.stop_task(cluster="demo", task=arn)

    def stopped():
        seen.append(world.describe(arn))
        return seen[-1]["lastStatus"] == "STOPPED"

    eventually("the stopped task is STOPPED", stopped, pause=0.02)
    world.ecs.get_waiter("tasks_stopped").wait(cluster="demo", tasks=[arn], WaiterConfig=quick)

    order = [STATES.index(task["lastStatus"]) for task in seen]
    assert order == sorted(order), [task["lastStatus"] for task in seen]
    versions = [task["version"] for task in seen]
    assert versions == sorted(versions)
    last = seen[-1]
    times = [last[name] for name in ("createdAt", "startedAt", "stoppingAt", "stoppedAt")]
    assert times == sorted(times)


def test_b21_exit_code_of_a_command_override(world, run):
    arn = run(["sh", "-c", "exit 3"])["taskArn"]
    task = world.wait_status(arn, "STOPPED")
    assert task["containers"][0]["exitCode"] == 3
    assert task["stopCode"] == "EssentialContainerExited"
    assert task["stoppedReason"] == "Essential container in task exited"


def test_b22_stop_task_with_a_reason(world, run):
    arn = run(SLEEP)["taskArn"]
    world.wait_status(arn, "RUNNING")
    answer = world.ecs.stop_task(cluster="demo", task=arn, reason="bye")
    assert answer["task"]["desiredStatus"] == "STOPPED"
    task = world.wait_status(arn, "STOPPED")
    assert task["stopCode"] == "UserInitiated"
    assert "bye" in task["stoppedReason"]
    assert task["containers"][0]["exitCode"] in (137, 143)


def test_b23_program_not_found(world, run):
    arn = run(["/no/such/program"])["taskArn"]
    task = world.wait_status(arn, "STOPPED")
    (container,) = task["containers"]
    if container.get("exitCode") == 127:
        assert task["stopCode"] == "EssentialContainerExited"
    else:
        assert task["stopCode"] == "TaskFailedToStart"
        assert "exitCode" not in container
        assert container["reason"].startswith("CannotStartContainerError")


def test_b24_count_between_one_and_ten(world):
    for count in (0, 11):
        refused(
            "InvalidParameterException",
            world.lenient_ecs.run_task,
            **world.run_request(["true"], count=count),
        )
    answer = world.ecs.run_task(**world.run_request(["sh", "-c", "exit 0"], count=3))
    assert answer["failures"] == []
    assert len({task["taskArn"] for task in answer["tasks"]}) == 3


def test_b25_launch_type_and_strategy_exclude_each_other(world, run):
    request = world.run_request(SLEEP)
    request.pop("launchType", None)
    spot = [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]
    refused(
        "InvalidParameterException",
        world.ecs.run_task,
        **{**request, "launchType": "FARGATE", "capacityProviderStrategy": spot},
    )
    for wrong in ([{"capacityProvider": "nope"}], spot * 21, [{**spot[0], "weight": 0}] * 2):
        refused("InvalidParameterException", world.lenient_ecs.run_task, **request, capacityProviderStrategy=wrong)
    mixed = [
        {"capacityProvider": "FARGATE", "base": 1, "weight": 0},
        {"capacityProvider": "FARGATE_SPOT", "weight": 1},
    ]
    tasks = world.ecs.run_task(**request, capacityProviderStrategy=mixed, count=3)["tasks"]
    for task in tasks:
        world.ecs.stop_task(cluster="demo", task=task["taskArn"])
    providers = [task["capacityProviderName"] for task in tasks]
    assert sorted(providers) == ["FARGATE", "FARGATE_SPOT", "FARGATE_SPOT"]


def test_b26_awsvpc_needs_a_network(world):
    request = world.run_request(SLEEP)
    network = request.pop("networkConfiguration")
    refused(
        "InvalidParameterException",
        world.ecs.run_task,
        "Network Configuration must be provided when networkMode 'awsvpc' is specified.",
        **request,
    )
    vpc = network["awsvpcConfiguration"]
    for wrong in ({"subnets": []}, {"subnets": vpc["subnets"] * 17}, {**vpc, "securityGroups": ["sg-1"] * 6}):
        refused(
            "InvalidParameterException",
            world.lenient_ecs.run_task,
            **request,
            networkConfiguration={"awsvpcConfiguration": wrong},
        )


def test_b27_override_of_an_unknown_container(world):
    overrides = {"containerOverrides": [{"name": "nobody", "command": ["true"]}]}
    refused("InvalidParameterException", world.ecs.run_task, **world.run_request(overrides=overrides))


def test_b28_unknown_task_definition(world):
    refused(
        "ClientException",
        world.ecs.describe_task_definition,
        "Unable to describe task definition.",
        taskDefinition="no-such-family",
    )
    refused("ClientException", world.ecs.run_task, **world.run_request(taskDefinition="no-such-family"))


def test_b29_a_client_token_is_good_for_one_run(world, run):
    token = uuid.uuid4().hex
    first = run(SLEEP, clientToken=token)
    again = world.ecs.run_task(**world.run_request(SLEEP, clientToken=token))
    assert [task["taskArn"] for task in again["tasks"]] == [first["taskArn"]]
    with pytest.raises(ClientError) as caught:
        world.ecs.run_task(**world.run_request(SLEEP, clientToken=token, count=2))
    error = caught.value.response
    assert error["Error"]["Code"] == "ConflictException"
    assert error["resourceIds"] == [first["taskArn"]]


def test_b30_started_by_is_stored_and_filterable_alone(world, run):
    mark = f"judge-{uuid.uuid4().hex[:12]}"
    task = run(SLEEP, startedBy=mark)
    assert task["startedBy"] == mark
    listed = world.ecs.list_tasks(cluster="demo", startedBy=mark)["taskArns"]
    assert listed == [task["taskArn"]]


def test_b31_the_environment_is_the_containers_own(world, run):
    overrides = {
        "containerOverrides": [
            {
                "name": "app",
                "command": ["env"],
                "environment": [{"name": "COLOUR", "value": "blue = \u00fc"}, {"name": "EMPTY", "value": ""}],
            }
        ]
    }
    arn = run(None, overrides=overrides)["taskArn"]
    assert world.wait_status(arn, "STOPPED")["containers"][0]["exitCode"] == 0
    lines = world.log_lines("/ecs/web", f"ecs/app/{task_id(arn)}", until="ECS_CONTAINER_METADATA_URI_V4")
    assert "COLOUR=blue = \u00fc" in lines and "EMPTY=" in lines
    assert "AWS_EXECUTION_ENV=AWS_ECS_FARGATE" in lines
    names = {line.split("=", 1)[0] for line in lines}
    assert "BOWLINE_CONFORMANCE_LEAK" not in names


def test_b32_stop_of_an_unknown_task(world):
    refused(
        "InvalidParameterException",
        world.ecs.stop_task,
        "The referenced task was not found.",
        cluster="demo",
        task=uuid.uuid4().hex,
    )


def test_b33_a_stopped_service_task_is_replaced(world):
    before = {task["taskArn"] for task in world.web_tasks()}
    victim = sorted(before)[0]
    world.ecs.stop_task(cluster="demo", task=victim, reason="replace me")

    def replaced():
        now = set(world.ecs.list_tasks(cluster="demo", serviceName="web")["taskArns"])
        return len(now) == 2 and victim not in now and now

    now = eventually("the stopped task is replaced", replaced)
    assert len(now - before) == 1
    eventually("runningCount is desired again", lambda: world.service()["runningCount"] == 2)
    world.web_tasks()


def test_b34_answer_of_execute_command(world, sessions):
    task = world.web_task()
    answer = sessions.execute("true", task)
    answer.pop("ResponseMetadata")
    assert set(answer) == {
        "clusterArn",
        "containerArn",
        "containerName",
        "interactive",
        "session",
        "taskArn",
    }
    assert answer["clusterArn"].endswith(":cluster/demo")
    assert answer["taskArn"] == task["taskArn"]
    assert answer["containerArn"] == task["containers"][0]["containerArn"]
    assert answer["containerName"] == "app"
    assert answer["interactive"] is True

    session = answer["session"]
    assert re.fullmatch(r"ecs-execute-command-[0-9a-z]+", session["sessionId"])
    assert session["tokenValue"]
    url = urllib.parse.urlsplit(session["streamUrl"])
    assert url.scheme == "ws"
    assert url.netloc == world.authority
    assert url.path == f"/v1/data-channel/{session['sessionId']}"
    assert urllib.parse.parse_qs(url.query)["role"] == ["publish_subscribe"]


def test_b35_refusals_of_execute_command(world, run):
    request = {"cluster": "demo", "command": "true", "interactive": True}
    task = world.web_task()["taskArn"]

    without = run(SLEEP)["taskArn"]
    world.wait_status(without, "RUNNING")
    message = refused("InvalidParameterException", world.ecs.execute_command, task=without, **request)
    assert message.startswith(NOT_ENABLED)

    batch = {**request, "interactive": False}
    refused("InvalidParameterException", world.ecs.execute_command, task=task, **batch)
    refused("InvalidParameterException", world.ecs.execute_command, task=task, container="nobody", **request)
    refused(
        "InvalidParameterException",
        world.ecs.execute_command,
        "The referenced task was not found.",
        task=uuid.uuid4().hex,
        **request,
    )


def test_b37_start_session(world, sessions):
    target = ssm_target(world.web_task())
    answer = sessions.start(Target=target)
    assert answer["SessionId"] and answer["TokenValue"]
    assert urllib.parse.urlsplit(answer["StreamUrl"]).path.endswith(f"/{answer['SessionId']}")

    wrong = target.rsplit("_", 1)[0] + f"_{uuid.uuid4().hex}-1234567890"
    refused("TargetNotConnected", world.ssm.start_session, f"{wrong} is not connected.", Target=wrong)
    refused("InvalidDocument", world.ssm.start_session, Target=target, DocumentName="No-Such-Document")


def test_b38_terminate_and_resume_session(world, sessions):
    answer = sessions.execute("sleep 600")["session"]
    session_id = answer["sessionId"]
    eventually("a new session is active", lambda: world.session_in("Active", session_id), 10)
    assert world.session_in("History", session_id) is None

    resumed = world.ssm.resume_session(SessionId=session_id)
    assert resumed["SessionId"] == session_id
    assert resumed["TokenValue"] and resumed["TokenValue"] != answer["tokenValue"]
    assert urllib.parse.urlsplit(resumed["StreamUrl"]).path.endswith(f"/{session_id}")

    assert world.ssm.terminate_session(SessionId=session_id)["SessionId"] == session_id
    ended = eventually("the session is history", lambda: world.session_in("History", session_id))
    assert ended["Status"] == "Terminated"
    assert world.session_in("Active", session_id) is None
    refused("DoesNotExistException", world.ssm.resume_session, SessionId=session_id)
    unknown = "ecs-execute-command-" + uuid.uuid4().hex[:26]
    refused("DoesNotExistException", world.ssm.resume_session, SessionId=unknown)
