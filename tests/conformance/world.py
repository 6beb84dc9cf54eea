"""What the checks need to know about the demo world, discovered through the public API only."""

import json
import time
import urllib.parse
from http.client import HTTPConnection

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

ECS_TARGET = "AmazonEC2ContainerServiceV20141113"


def eventually(what, check, seconds=60.0, pause=0.1):
    """Polls until `check` answers something true, and returns that."""
    deadline = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(pause)


class World:
    """Clients for one sandbox and the facts found through them."""

    def __init__(self, env, make_client):
        self.env = env
        self.endpoint = env["BOWLINE_ENDPOINT"]
        self.authority = urllib.parse.urlsplit(self.endpoint).netloc
        self.region = env["AWS_REGION"]
        self.ecs = make_client("ecs")
        self.ssm = make_client("ssm")
        self.sts = make_client("sts")
        # StartLiveTail would go to another host otherwise.
        self.logs = make_client("logs", config=Config(inject_host_prefix=False))
        self.kms = make_client("kms")
        # The service must refuse what the model forbids, so these calls must reach it.
        self.lenient_ecs = make_client("ecs", config=Config(parameter_validation=False))

    def service(self):
        (service,) = self.ecs.describe_services(cluster="demo", services=["web"])["services"]
        return service

    def web_tasks(self):
        """The two tasks of `web`, both running with their exec agent up."""

        def ready():
            arns = self.ecs.list_tasks(cluster="demo", serviceName="web")["taskArns"]
            if len(arns) != 2:
                return None
            tasks = self.ecs.describe_tasks(cluster="demo", tasks=arns)["tasks"]
            return tasks if len(tasks) == 2 and all(map(exec_ready, tasks)) else None

        return eventually("service web has 2 running tasks with their exec agent up", ready)

    def web_task(self):
        return sorted(self.web_tasks(), key=lambda task: task["taskArn"])[0]

    def stream(self, group, name, **more):
        """All events of a log stream, by the forward token, to where it stays the same."""
        events, token = [], None
        while True:
            page = self.logs.get_log_events(
                logGroupName=group,
                logStreamName=name,
                startFromHead=True,
                **({"nextToken": token} if token else {}),
                **more,
            )
            events += page["events"]
            if page["nextForwardToken"] == token:
                return events
            token = page["nextForwardToken"]

    def log_lines(self, group, name, until):
        """The messages of a stream once one that begins with `until` is among them."""

        def found():
            try:
                lines = [event["message"] for event in self.stream(group, name)]
            except self.logs.exceptions.ResourceNotFoundException:
                return None
            return any(line.startswith(until) for line in lines) and lines

        return eventually(f"{until} is in the log {name}", found)

    def describe(self, arn, **more):
        (task,) = self.ecs.describe_tasks(cluster="demo", tasks=[arn], **more)["tasks"]
        return task

    def run_request(self, command=None, **more):
        """A RunTask request like the service's own tasks, with another command."""
        service = self.service()
        request = {"cluster": "demo", "taskDefinition": service["taskDefinition"]}
        for key in ("launchType", "capacityProviderStrategy", "networkConfiguration"):
            if service.get(key):
                request[key] = service[key]
        if command is not None:
            request["overrides"] = {"containerOverrides": [{"name": "app", "command": command}]}
        return {**request, **more}

    def run(self, command, **more):
        """Starts one task and returns it as RunTask answered."""
        answer = self.ecs.run_task(**self.run_request(command, **more))
        assert answer["failures"] == []
        (task,) = answer["tasks"]
        return task

    def wait_status(self, arn, status, seconds=60.0):
        def reached():
            task = self.describe(arn)
            if status == "RUNNING":
                assert task["lastStatus"] != "STOPPED", task
            return task if task["lastStatus"] == status else None

        return eventually(f"task is {status}", reached, seconds)

    def session_in(self, state, session_id):
        """The session's entry among Active or History ones, or None."""
        filters = [{"key": "SessionId", "value": session_id}]
        found = self.ssm.describe_sessions(State=state, Filters=filters)["Sessions"]
        assert all(entry["SessionId"] == session_id for entry in found), "the SessionId filter let others through"
        return found[0] if found else None

    def end_session(self, session_id):
        """Terminates a session and waits until it no longer takes one of the container's two places."""
        self.ssm.terminate_session(SessionId=session_id)
        eventually("terminated session is no longer active", lambda: not self.session_in("Active", session_id))

    def credentials(self, **changes):
        values = {
            "access_key": self.env["AWS_ACCESS_KEY_ID"],
            "secret_key": self.env["AWS_SECRET_ACCESS_KEY"],
            "token": self.env.get("AWS_SESSION_TOKEN"),
            **changes,
        }
        return Credentials(**values)

    def raw(self, target, body, *, sign=True, host=None, headers=None, credentials=None, send_body=None):
        """One JSON-protocol POST built by hand. Returns (status, headers, body bytes)."""
        host = host or self.authority
        body = body.encode() if isinstance(body, str) else body
        request = AWSRequest(
            method="POST",
            url=f"http://{host}/",
            data=body,
            headers={"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": target, "Host": host},
        )
        if sign:
            SigV4Auth(credentials or self.credentials(), "ecs", self.region).add_auth(request)
        sent = dict(request.headers.items())
        sent.update(headers or {})
        connection = HTTPConnection(self.authority, timeout=30)
        try:
            connection.request("POST", "/", body=body if send_body is None else send_body, headers=sent)
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def raw_ecs(self, operation, body, **more):
        if not isinstance(body, (str, bytes)):
            body = json.dumps(body)
        return self.raw(f"{ECS_TARGET}.{operation}", body, **more)


def exec_ready(task):
    """RUNNING is not enough: the agent comes up later."""
    containers = task["containers"]
    return task["lastStatus"] == "RUNNING" and all(
        container["lastStatus"] == "RUNNING"
        and any(
            agent["name"] == "ExecuteCommandAgent" and agent["lastStatus"] == "RUNNING"
            for agent in container.get("managedAgents", [])
        )
        for container in containers
    )


def task_id(arn):
    return arn.rsplit("/", 1)[1]


def ssm_target(task):
    """`ecs:<cluster>_<task id>_<runtime id>` of the task's only container."""
    (container,) = task["containers"]
    return f"ecs:demo_{task_id(task['taskArn'])}_{container['runtimeId']}"


def error_name(body):
    """The error's name in a JSON body: after `#` and before `:`."""
    return json.loads(body)["__type"].rsplit("#", 1)[-1].split(":", 1)[0]
