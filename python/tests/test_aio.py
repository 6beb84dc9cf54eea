"""The same with asyncio: several at once, and cancelled."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

import bowline_ecs
from bowline_ecs import Exit, Sandbox, Stdout, aio
from conftest import LIMIT, active_sessions, answer, api, eventually, is_gone, program

STAYS = ["sh", "-c", "echo $$; exec sleep 600"]


def test_events_come_while_the_loop_goes_on(inside: Sandbox) -> None:
    async def main() -> tuple[list[bytes], int, int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticking = asyncio.create_task(tick())
        out, code = [], -1
        async for event in aio.exec("demo/web", ["sh", "-c", "echo one; sleep 0.5; echo two; exit 4"]):
            if isinstance(event, Stdout):
                out.append(event.data)
            elif isinstance(event, Exit):
                code = event.code
        ticking.cancel()
        return out, code, ticks

    out, code, ticks = asyncio.run(main())
    assert (b"".join(out), code) == (b"one\ntwo\n", 4)
    assert ticks > 5, "the loop was blocked"


def test_several_at_once(inside: Sandbox) -> None:
    async def main() -> list[bowline_ecs.Completed]:
        client = aio.Client()
        tasks = [client.exec(f"task:{task}", ["echo", task]).result(check=True) for task in await tasks_of_web()]
        return await asyncio.gather(*tasks)

    async def tasks_of_web() -> list[str]:
        found = await asyncio.to_thread(api(inside, "ecs").list_tasks, cluster="demo", serviceName="web")
        return [arn.rsplit("/", 1)[1] for arn in found["taskArns"]]

    done = asyncio.run(main())
    assert len({one.text for one in done}) == 2


def test_errors_are_raised_where_it_is_awaited(inside: Sandbox) -> None:
    session = aio.exec("wbe", ["true"])  # nothing is asked yet

    async def main() -> None:
        with pytest.raises(bowline_ecs.TargetNotFoundError, match="did you mean web"):
            await session.result()
        with pytest.raises(bowline_ecs.CommandFailedError):
            await aio.exec("web", ["false"]).result(check=True)
        with pytest.raises(bowline_ecs.ConfigurationError):
            await aio.exec("web", ["true"], profile="nobody").result()

    asyncio.run(main())


def test_stdin_is_read_beside_the_loop(inside: Sandbox) -> None:
    data = bytes(range(256)) * 512

    async def main() -> bytes:
        return (await aio.exec("web", ["cat"], stdin=iter([data, data])).result(check=True)).stdout

    assert asyncio.run(main()) == data * 2


@pytest.mark.bowline_sandbox()
def test_cancelling_ends_the_session(bowline_sandbox: Sandbox) -> None:
    seen: list[int] = []

    async def follow() -> None:
        async for event in aio.exec("web", STAYS):
            if isinstance(event, Stdout):
                seen.append(int(event.data))

    async def main() -> None:
        following = asyncio.create_task(follow())
        while not seen:
            await asyncio.sleep(0.01)
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(follow(), 2)

    asyncio.run(main())
    assert len(seen) == 2
    eventually(lambda: all(map(is_gone, seen)), "a command goes on")
    eventually(lambda: active_sessions(bowline_sandbox) == 0, "a session is still there")


CANCELLED = """
import asyncio, bowline_ecs
from bowline_ecs import aio

async def main():
    async for event in aio.exec("web", ["sh", "-c", "echo $$; exec sleep 600"]):
        if isinstance(event, bowline_ecs.Stdout):
            print(event.data.decode(), end="", flush=True)

asyncio.run(main())
"""


@pytest.mark.bowline_sandbox()
def test_ctrl_c_in_asyncio_ends_the_session(bowline_sandbox: Sandbox, tmp_path: Path) -> None:
    ran = program(CANCELLED, bowline_sandbox, tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert ran.stdout is not None
    process = int(ran.stdout.readline())
    ran.send_signal(signal.SIGINT)
    _, errors = ran.communicate(timeout=LIMIT)
    assert errors.decode().strip().endswith("KeyboardInterrupt"), errors.decode()
    assert b"panicked" not in errors and b"never" not in errors
    eventually(lambda: active_sessions(bowline_sandbox) == 0, "the session is still there")
    eventually(lambda: is_gone(process), "the command goes on")


def test_close_waits_for_the_end(inside: Sandbox) -> None:
    async def main() -> int:
        async with aio.exec("web", STAYS) as session:
            async for event in session:
                if isinstance(event, Stdout):
                    return int(event.data)
        raise AssertionError("it has ended by itself")

    process = asyncio.run(main())
    eventually(lambda: is_gone(process), "the command goes on")


def test_a_task_and_its_lines(inside: Sandbox) -> None:
    async def main() -> bowline_ecs.TaskResult:
        return await aio.run("family:job", ["sh", "-c", "echo one; exit 3"], log_wait=2).result()

    done = asyncio.run(main())
    assert (done.code, done.text, done.container) == (3, "one", "job")


def test_a_task_that_starts_while_its_caller_is_cancelled_is_not_left_behind() -> None:
    class Job:
        left: list[str] = []

        async def start_async(self) -> list[str]:
            await asyncio.sleep(LIMIT)
            return []

        def abandon(self, reason: str) -> None:
            self.left.append(reason)

    async def main() -> None:
        job = Job()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(aio.Run(cast(Any, job)).__aenter__(), 0.05)
        assert job.left == ["bowline_ecs: interrupted"]

    asyncio.run(main())


def test_a_forward(inside: Sandbox) -> None:
    async def main() -> bytes:
        async with aio.forward("web", 8080) as forward:
            assert forward.target == "demo/web/app"
            return await asyncio.to_thread(answer, forward.host, forward.port)

    assert asyncio.run(main()).startswith(b"task ")


def test_a_forward_is_closed_beside_a_command_of_the_same_client(inside: Sandbox) -> None:
    async def main() -> list[type]:
        client = aio.Client()
        script = ["sh", "-c", "echo ready; read word; echo $word"]
        closed = threading.Event()
        said = []

        def later() -> Iterator[bytes]:
            assert closed.wait(LIMIT)
            yield b"on\n"

        async for event in client.exec("web", script, stdin=later()):
            if event == Stdout(b"ready\n"):
                forward = await client.forward("web", 8080).open()
                await forward.close()
                closed.set()
            said.append(event)
        assert said[-2:] == [Stdout(b"on\n"), Exit(0)], said
        return [type(event) for event in said]

    assert asyncio.run(main())[-1] is Exit
