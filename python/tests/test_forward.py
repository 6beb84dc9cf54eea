"""Forwarded ports."""

from __future__ import annotations

import socket

import pytest

import bowline_ecs
from bowline_ecs import Client, Sandbox
from conftest import LIMIT, active_sessions, answer, eventually


def test_a_port_of_the_task_while_the_block_lasts(bowline_sandbox: Sandbox) -> None:
    with bowline_ecs.forward("demo/web", 8080) as forward:
        assert (forward.host, forward.target) == ("127.0.0.1", "demo/web/app") and forward.port > 0
        for _ in range(3):
            assert answer(forward.host, forward.port).startswith(b"task ")
        assert active_sessions(bowline_sandbox) == 1
        port = forward.port
    eventually(lambda: active_sessions(bowline_sandbox) == 0, "the session is still there")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)


def test_a_host_that_only_the_task_reaches(client: Client) -> None:
    with client.forward("web", "db.demo.internal:5432") as db, socket.create_connection((db.host, db.port), LIMIT) as wire:
        # PostgreSQL's SSLRequest, which its server answers with one letter.
        wire.settimeout(LIMIT)
        wire.sendall(bytes.fromhex("00000008 04d2162f"))
        assert wire.recv(1) in (b"N", b"S")


def test_a_remote_that_does_not_answer_is_noted(client: Client) -> None:
    with client.forward("web", 9) as forward, socket.create_connection((forward.host, forward.port), LIMIT) as wire:
        wire.settimeout(LIMIT)
        try:
            assert wire.recv(1) == b""
        except ConnectionResetError:
            pass
        eventually(lambda: bool(forward.notices), "nothing was said")


def test_mistakes(client: Client) -> None:
    with pytest.raises(bowline_ecs.UsageError, match="is no port"):
        client.forward("web", "no words")
    with pytest.raises(bowline_ecs.UsageError, match="also says where to listen"):
        client.forward("web", "0:8080")
    with pytest.raises(bowline_ecs.UsageError, match="is not an address"):
        client.forward("web", 8080, bind="here")
    with pytest.raises(bowline_ecs.TargetNotFoundError):
        client.forward("wbe", 8080)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(bowline_ecs.ForwardError, match="local_port=0"):
            client.forward("web", 8080, local_port=taken.getsockname()[1])
