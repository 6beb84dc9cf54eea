"""A pytest plugin: the fixture `bowline_sandbox`, found by its entry point wherever `bowline-ecs` is installed.

    def test_backup(bowline_sandbox):
        assert backup("web") == 0          # boto3, the AWS CLI and bowline_ecs all go to the sandbox

    @pytest.mark.bowline_sandbox(world="tests/shop.yaml", faults=["throttle=20%"])
    def test_backup_of_the_shop(bowline_sandbox):
        assert backup(f"{bowline_sandbox.cluster}/web") == 0

The mark takes what `bowline_ecs.Sandbox` takes; without `world`, the ini option `bowline_sandbox_world` names one.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator

import pytest

if TYPE_CHECKING:
    from ._sandbox import Sandbox

#: Variables that would lead away from it.
FOREIGN = (
    "AWS_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_CA_BUNDLE",
    "AWS_ENDPOINT_URL_ECS",
    "AWS_ENDPOINT_URL_SSM",
    "AWS_ENDPOINT_URL_LOGS",
    "AWS_ENDPOINT_URL_STS",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("bowline_sandbox_world", "The world file of the fixture bowline_sandbox, from the root directory.")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "bowline_sandbox(world=None, agent='fast', scenarios=(), faults=(), region='us-east-1'): "
        "what the fixture bowline_sandbox holds, and what is wrong in it.",
    )


@pytest.fixture
def bowline_sandbox(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Sandbox]:
    """A sandbox of this test's own; the AWS_* variables lead there, and no profile or file of yours away from it."""
    from ._sandbox import Sandbox

    mark = request.node.get_closest_marker("bowline_sandbox")
    options: dict[str, Any] = dict(mark.kwargs) if mark is not None else {}
    world = options.pop("world", None) or request.config.getini("bowline_sandbox_world") or None
    if world is not None:
        options["world"] = request.config.rootpath / world
    with Sandbox(**options) as sandbox:
        for name in FOREIGN:
            monkeypatch.delenv(name, raising=False)
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            monkeypatch.setenv(name, str(tmp_path / "no-aws-files"))
        for name, value in sandbox.environment.items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)
        with _own_session():
            yield sandbox


@contextmanager
def _own_session() -> Iterator[None]:
    """boto3 keeps the credentials of its first client; those of another test's sandbox, or of yours, are not for this one."""
    boto3 = sys.modules.get("boto3")
    before = getattr(boto3, "DEFAULT_SESSION", None)
    if boto3 is not None:
        setattr(boto3, "DEFAULT_SESSION", None)
    try:
        yield
    finally:
        boto3 = sys.modules.get("boto3")
        if boto3 is not None:
            setattr(boto3, "DEFAULT_SESSION", before)
