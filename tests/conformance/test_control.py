"""The sandbox's own calls, made by hand with botocore's signer, and what boto3 sees of them.

They change a sandbox for good, so each test here has one of its own.
"""

import json
import tempfile

import pytest
from botocore.exceptions import ClientError

import conftest
from datachannel import Channel, Closed, open_exec
from world import World, eventually

IDLE_LIMIT = 20 * 60


@pytest.fixture
def own(bowline):
    """Starts sandboxes with options of the test's own; answers their worlds."""
    import boto3
    from botocore.config import Config

    with tempfile.TemporaryDirectory(prefix="bowline-control-") as place:
        started = []

        def start(*options):
            sandbox = conftest.Started(bowline, tempfile.mkdtemp(dir=place), *options)
            started.append(sandbox)

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

            return World(sandbox.env, make)

        try:
            yield start
        finally:
            for sandbox in started:
                sandbox.stop()


def control(world, operation, /, **members):
    status, headers, body = world.raw(f"BowlineSandbox.{operation}", json.dumps(members))
    assert headers["x-amzn-RequestId"]
    return status, json.loads(body)


def execute(world, command="sh", task=None):
    task = task or world.web_task()["taskArn"]
    return world.ecs.execute_command(cluster="demo", task=task, command=command, interactive=True)


def refusal(call):
    with pytest.raises(ClientError) as caught:
        call()
    return caught.value.response["Error"]


def test_b36_a_stopped_agent_is_not_connected_and_says_why(own):
    world = own()
    arn = world.web_task()["taskArn"]
    status, answer = control(
        world, "SetAgentState", cluster="demo", task=arn, status="STOPPED", reason="certificate expired"
    )
    assert (status, answer) == (200, {"containers": ["app"]})
    error = refusal(lambda: execute(world, task=arn))
    assert error["Code"] == "TargetNotConnectedException"
    (agent,) = world.describe(arn)["containers"][0]["managedAgents"]
    assert (agent["lastStatus"], agent["reason"]) == ("STOPPED", "certificate expired")
    assert agent["lastStartedAt"]

    control(world, "SetAgentState", cluster="demo", task=arn, status="PENDING")
    error = refusal(lambda: execute(world, task=arn))
    assert error["Code"] == "InvalidParameterException"
    assert world.describe(arn)["containers"][0]["managedAgents"][0]["lastStatus"] == "PENDING"

    control(world, "SetAgentState", cluster="demo", task=arn, status="RUNNING")
    with open_exec(execute(world, "echo back", arn)) as channel:
        assert channel.until_closed()[0] == b"back\r\n"


def test_agents_of_a_scenario_have_stopped(own):
    world = own("--scenario", "agent-stopped=no route to ssmmessages")
    # `web_task` waits for agents that run.
    (arn, _) = world.ecs.list_tasks(cluster="demo", serviceName="web")["taskArns"]
    error = refusal(lambda: execute(world, task=arn))
    assert error["Code"] == "TargetNotConnectedException"
    assert world.describe(arn)["containers"][0]["managedAgents"][0]["reason"] == "no route to ssmmessages"


def test_a_cut_socket_has_no_close_frame_and_can_be_resumed(own):
    world = own()
    answer = execute(world, "sh -c 'echo up; read line; echo got-$line'")
    session_id = answer["session"]["sessionId"]
    channel = open_exec(answer)
    channel.until_output(b"up")
    assert control(world, "CutSession", sessionId=session_id)[0] == 200
    with pytest.raises(Closed) as lost:
        channel.until_closed()
    assert "close frame" not in str(lost.value)
    eventually(
        "the session is Disconnected",
        lambda: world.session_in("Active", session_id)["Status"] == "Disconnected",
    )
    status, error = control(world, "CutSession", sessionId=session_id)
    assert (status, error["__type"]) == (400, "InvalidParameterException")

    resumed = world.ssm.resume_session(SessionId=session_id)
    with Channel(resumed["StreamUrl"], resumed["TokenValue"], resumed=channel) as again:
        again.send(b"it\r")
        output, closed = again.until_closed()
    assert b"got-it" in output
    assert not closed.get("Output")


def test_the_idle_limit_counts_input_and_sizes_but_not_output(own):
    world = own()
    answer = execute(world, "sh -c 'while echo tick; do sleep 0.05; done'")
    session_id = answer["session"]["sessionId"]

    def advance(seconds):
        status, answer = control(world, "AdvanceClock", seconds=seconds)
        assert status == 200
        return answer["seconds"]

    with open_exec(answer) as channel:
        channel.until_output(b"tick")
        before = advance(IDLE_LIMIT - 60)
        channel.until_acked(channel.size(80, 24))
        assert advance(IDLE_LIMIT - 60) >= before + IDLE_LIMIT - 60
        channel.until_acked(channel.send(b"x"))
        advance(IDLE_LIMIT - 60)
        so_far = len(channel.output)
        channel.until("more output", lambda: len(channel.output) > so_far)
        advance(61)
        _, closed = channel.until_closed()
    assert closed["Output"] == "Your session timed out due to inactivity and has been terminated."
    assert world.session_in("History", session_id)["Status"] == "Terminated"


def test_the_fast_clock_makes_twenty_minutes_short(own):
    world = own("--fast-clock", "2000")
    with open_exec(execute(world, "sleep 600")) as channel:
        _, closed = channel.until_closed(20)
    assert "inactivity" in closed["Output"]


@pytest.mark.parametrize(
    "scenario, command, text",
    [
        ("no-shell", "sh", 'exec: "sh": executable file not found in $PATH'),
        ("no-tools", "/bin/sh", "fork/exec /bin/sh: no such file or directory"),
        ("tools=-dd -od", "dd", 'exec: "dd": executable file not found in $PATH'),
    ],
)
def test_images_lack_what_the_scenario_says(own, scenario, command, text):
    world = own("--scenario", scenario)
    with open_exec(execute(world, command)) as channel:
        _, closed = channel.until_closed()
    assert text in closed["Output"]


def test_control_calls_are_guarded_like_every_other(own):
    world = own()
    body = json.dumps({"seconds": 1})
    for target, more, code in [
        ("BowlineSandbox.AdvanceClock", {"sign": False}, "MissingAuthenticationTokenException"),
        (
            "BowlineSandbox.AdvanceClock",
            {"credentials": world.credentials(secret_key="x" * 40)},
            "InvalidSignatureException",
        ),
        ("BowlineSandbox.Nope", {}, "UnknownOperationException"),
    ]:
        status, _, answer = world.raw(target, body, **more)
        assert (status, json.loads(answer)["__type"]) == (400, code), target
    for members in [{}, {"seconds": "soon"}]:
        assert control(world, "AdvanceClock", **members)[1]["__type"] == "SerializationException"
    assert control(world, "AdvanceClock", seconds=-1)[1]["__type"] == "InvalidParameterException"


def test_faults_throttle_boto3_and_go_away(own):
    world = own("--fault", "throttle=ListClusters:1,latency=DescribeClusters:300ms")
    with pytest.raises(ClientError) as refused:
        world.ecs.list_clusters()
    assert refused.value.response["Error"] == {"Code": "ThrottlingException", "Message": "Rate exceeded"} | {
        name: value
        for name, value in refused.value.response["Error"].items()
        if name not in ("Code", "Message")
    }
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert world.ecs.list_clusters()["clusterArns"]
    status, faults = control(world, "GetFaults")
    assert status == 200 and faults["happened"]["throttled"] == 1
    assert faults["faults"] == {"throttle": ["ListClusters:1"], "latency": ["DescribeClusters:300ms"]}

    status, faults = control(world, "SetFaults", **{"throttle": "100%", "seed": 7})
    assert (status, faults["seed"], faults["happened"]["throttled"]) == (200, 7, 0)
    with pytest.raises(ClientError):
        world.ssm.describe_sessions(State="Active")
    assert control(world, "SetFaults")[0] == 200
    assert world.ssm.describe_sessions(State="Active")["Sessions"] == []

    status, error = control(world, "SetFaults", lossy="1%")
    assert status == 400 and error["__type"] == "InvalidParameterException"
    assert "there are delay" in error["message"]


def test_a_lost_session_is_resumed_by_the_policy(own):
    world = own("--fault", "resume=denied")
    session = execute(world, "sleep 600")["session"]
    with pytest.raises(ClientError) as refused:
        world.ssm.resume_session(SessionId=session["sessionId"])
    assert refused.value.response["Error"]["Code"] == "AccessDeniedException"
    control(world, "SetFaults", resume="no-token")
    assert "TokenValue" not in world.ssm.resume_session(SessionId=session["sessionId"])
    control(world, "SetFaults")
    resumed = world.ssm.resume_session(SessionId=session["sessionId"])
    assert resumed["StreamUrl"] != session["streamUrl"] and resumed["TokenValue"] != session["tokenValue"]
