"""bowline's targets, for tasks that somebody else's client has started."""

import subprocess

import pytest

SLEEP = ["sleep", "600"]


@pytest.fixture
def bowline_in(bowline, sandbox_env, tmp_path):
    def run(*words):
        done = subprocess.run(
            [bowline, *words],
            env={**sandbox_env, "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
        )
        return done.returncode, done.stdout, done.stderr

    return run


def test_a_tag_finds_its_task_and_no_other(world, bowline_in):
    arns = {}
    try:
        for team in ["pay", "ship"]:
            tags = [{"key": "team", "value": team}, {"key": "stage", "value": "a b"}]
            arns[team] = world.run(SLEEP, tags=tags)["taskArn"]
        for team, arn in arns.items():
            code, out, err = bowline_in("ls", "tasks", f"tag:demo/team={team}", "-o", "name")
            assert (code, out) == (0, f"demo/{arn.rsplit('/', 1)[1]}\n".encode()), err
        code, out, _ = bowline_in("ls", "tasks", "tag:stage=a b", "-o", "name")
        assert code == 0 and len(out.splitlines()) == 2
        code, out, err = bowline_in("ls", "tasks", "tag:team=shp")
        assert (code, out) == (3, b"")
        assert b"did you mean team=ship?" in err
    finally:
        for arn in arns.values():
            world.ecs.stop_task(cluster="demo", task=arn)
