"""A Lambda function that runs a command in a service's task, logs the output as it comes, and returns it.

Its event is {"target": "shop/web", "command": ["bin/report", "--all"]}. It needs bowline-ecs beside it or in a layer, and a
role with ecs:ListClusters, ecs:ListTasks, ecs:DescribeTasks, ecs:ExecuteCommand and ssm:TerminateSession.
"""

from typing import Any

import bowline_ecs


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    left = context.get_remaining_time_in_millis() / 1000 - 2  # what the answer needs
    output, code = b"", None
    for got in bowline_ecs.exec(event["target"], event["command"], timeout=left):
        if isinstance(got, (bowline_ecs.Stdout, bowline_ecs.Stderr)):
            print(got.data.decode("utf-8", "replace"), end="", flush=True)
            output += got.data
        elif isinstance(got, bowline_ecs.Exit):
            code = got.code
    return {"code": code, "output": output.decode("utf-8", "replace")}
