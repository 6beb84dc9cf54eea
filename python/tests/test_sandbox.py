"""The sandbox: by itself, as a fixture, and when its owner dies."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import boto3
import pytest

import bowline_ecs
from bowline_ecs import Sandbox
from conftest import LIMIT, eventually, is_gone, program

WORLD = Path(__file__).parents[2] / "examples" / "worlds" / "shop.yaml"


def test_the_fixture_leads_everybody_there(bowline_sandbox: Sandbox) -> None:
    assert os.environ["AWS_ENDPOINT_URL"] == bowline_sandbox.endpoint
    assert (bowline_sandbox.cluster, bowline_sandbox.clusters) == ("demo", ["demo"])
    services = boto3.client("ecs").list_services(cluster="demo")["serviceArns"]
    assert [arn.rsplit("/", 1)[1] for arn in services] == ["web"]
    assert bowline_ecs.exec("web", ["echo", "hello"]).result(check=True).text == "hello"


def test_boto3s_own_session_is_not_that_of_the_test_before(bowline_sandbox: Sandbox) -> None:
    """boto3 keeps the credentials of its first client for all later ones."""
    assert boto3.client("sts").get_caller_identity()["Account"]
    assert boto3.DEFAULT_SESSION.get_credentials().access_key == bowline_sandbox.environment["AWS_ACCESS_KEY_ID"]


@pytest.mark.bowline_sandbox(world=WORLD, region="eu-west-1")
def test_a_world_of_ones_own(bowline_sandbox: Sandbox) -> None:
    assert bowline_sandbox.clusters == ["shop-prod", "shop-test", "tools"] and bowline_sandbox.cluster == "shop-prod"
    assert bowline_ecs.Client().region == "eu-west-1"
    assert bowline_ecs.exec("shop-prod/web/app", ["printenv", "LOG_LEVEL"]).result(check=True).text == "info"


def test_what_cannot_start_says_why(tmp_path: Path) -> None:
    world = tmp_path / "world.yaml"
    world.write_text("clusters: 7\n")
    for options, text in [
        ({"world": world}, "world.yaml"),
        ({"world": tmp_path / "none.yaml"}, "cannot read"),
        ({"agent": "slow"}, "slow"),
        ({"faults": ["loss=much"]}, "loss"),
        ({"scenarios": ["rain"]}, "rain"),
    ]:
        with pytest.raises(bowline_ecs.SandboxError, match=text):
            Sandbox(**options)  # type: ignore[arg-type]
    with pytest.raises(bowline_ecs.UsageError):
        Sandbox(faults="loss=10%")


OWNER = """
import bowline_ecs, sys, time
sandbox = bowline_ecs.Sandbox()
session = sandbox.client().exec("web", ["sh", "-c", "echo $$; exec sleep 600"])
for event in session:
    if isinstance(event, bowline_ecs.Stdout):
        print(sandbox._process.pid, event.data.decode(), end="", flush=True)
"""


def test_it_ends_with_its_owner(sandbox: Sandbox, tmp_path: Path) -> None:
    owner = program(OWNER, sandbox, tmp_path, stdout=subprocess.PIPE)
    assert owner.stdout is not None
    processes = [int(word) for word in owner.stdout.readline().split()]
    owner.send_signal(signal.SIGKILL)
    owner.communicate(timeout=LIMIT)
    assert len(processes) == 2
    eventually(lambda: all(map(is_gone, processes)), "the sandbox or its container goes on")


def test_the_plugin_by_itself(pytester: pytest.Pytester) -> None:
    """In a project of somebody who has only installed the package, strict about marks."""
    pytester.makeini(f"[pytest]\naddopts = --strict-markers -p no:cacheprovider\nbowline_sandbox_world = {WORLD}\n")
    pytester.makepyfile(
        """
        import os, boto3, pytest, bowline_ecs

        def test_the_world_of_the_ini_file(bowline_sandbox):
            assert bowline_sandbox.cluster == "shop-prod"

        @pytest.mark.bowline_sandbox(faults=["throttle=ListClusters:1"])
        def test_a_fault(bowline_sandbox):
            ecs = boto3.client("ecs", config=__import__("botocore.config").config.Config(retries={"total_max_attempts": 1}))
            with pytest.raises(ecs.exceptions.ClientError, match="Throttling"):
                ecs.list_clusters()

        def test_nothing_is_left_in_the_environment():
            assert "AWS_ENDPOINT_URL" not in os.environ
        """
    )
    for name in ("AWS_ENDPOINT_URL", "BOWLINE_ENDPOINT"):
        os.environ.pop(name, None)
    result = pytester.runpytest_subprocess("-q")
    result.assert_outcomes(passed=3)
    listed = pytester.runpytest_subprocess("--fixtures", "--markers", "-q")
    listed.stdout.fnmatch_lines(["*bowline_sandbox(world=None*"])
