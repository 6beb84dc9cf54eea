"""SSM Automation of the sandbox, seen through boto3: documents, executions, signals."""

import json
import time
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from conftest import Started

EXAMPLE = (Path(__file__).parents[2] / "examples" / "runbooks" / "lambda-task-lambda.yaml").read_text()
PARAMETERS = {"Cluster": ["demo"], "Subnet": ["subnet-0a1b2c3d4e5f60001"], "SecurityGroupID": ["sg-0a1b2c3d4e5f60001"]}
LIMIT = 120


def book(steps, head=""):
    return f"schemaVersion: '0.3'\n{head}mainSteps:\n{steps}"


@pytest.fixture(scope="module")
def automation(bowline, tmp_path_factory):
    """A sandbox with two families and four functions."""
    place = tmp_path_factory.mktemp("world")
    world = place / "world.json"
    container = {"name": "app", "image": "example/app:1"}
    world.write_text(json.dumps({
        "families": [
            {"name": "good", "containers": [{**container, "command": ["sh", "-c", "exit 0"]}]},
            {"name": "bad", "containers": [{**container, "command": ["sh", "-c", "exit 1"]}]},
        ],
        "clusters": [{"name": "demo"}],
        "functions": [
            {"name": "test", "command": ["sh", "-c", "cat; echo log >&2"]},
            {"name": "test2"},
            {"name": "broken", "command": ["sh", "-c", "exit 3"]},
            {"name": "slow", "command": ["sleep", "600"], "timeout": 300},
        ],
    }))
    started = Started(bowline, tmp_path_factory.mktemp("sandbox"), "--world", str(world))
    env = started.env
    yield boto3.client(
        "ssm",
        endpoint_url=env["BOWLINE_ENDPOINT"],
        region_name=env["AWS_REGION"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        config=Config(retries={"total_max_attempts": 1}),
    )
    started.stop()


@pytest.fixture
def create(automation):
    """Creates a document, and removes it after the test."""
    made = []

    def create(content, name="Book", **more):
        answer = automation.create_document(Content=content, Name=name, DocumentType="Automation", **{"DocumentFormat": "YAML", **more})
        made.append(name)
        return answer["DocumentDescription"]

    yield create
    for name in made:
        automation.delete_document(Name=name)


def get(automation, execution):
    return automation.get_automation_execution(AutomationExecutionId=execution)["AutomationExecution"]


def until(automation, execution, *statuses):
    deadline = time.monotonic() + LIMIT
    while True:
        seen = get(automation, execution)
        if seen["AutomationExecutionStatus"] in statuses:
            return seen
        assert time.monotonic() < deadline, seen
        time.sleep(0.05)


def run(automation, name="Book", **more):
    execution = automation.start_automation_execution(DocumentName=name, **more)["AutomationExecutionId"]
    return until(automation, execution, "Success", "Failed", "TimedOut", "Cancelled")


def statuses(seen):
    return {step["StepName"]: step["StepStatus"] for step in seen["StepExecutions"]}


def refused(call, **request):
    with pytest.raises(ClientError) as error:
        call(**request)
    return error.value.response["Error"]["Code"]


def test_the_example_succeeds(automation, create):
    described = create(EXAMPLE, "LambdaTaskLambda")
    assert (described["Status"], described["DocumentVersion"], described["SchemaVersion"]) == ("Creating", "1", "0.3")
    assert {it["Name"] for it in described["Parameters"]} >= {"Cluster", "Subnet", "TaskDefName"}
    seen = run(automation, "LambdaTaskLambda", Parameters={**PARAMETERS, "TaskDefName": ["good:1"]})
    assert seen["AutomationExecutionStatus"] == "Success", seen
    assert statuses(seen) == {"lambda1": "Success", "ecs": "Success", "waitecscontainer1": "Success", "lambda2": "Success", "Sleep": "Pending"}
    steps = {step["StepName"]: step for step in seen["StepExecutions"]}
    assert steps["lambda2"]["Outputs"]["StatusCode"] == ["200"]
    assert steps["ecs"]["Outputs"]["taskArn"][0].startswith("arn:aws:ecs:")
    assert json.loads(steps["ecs"]["Inputs"]["Cluster" if "Cluster" in steps["ecs"]["Inputs"] else "cluster"]) == "demo"
    assert steps["Sleep"].get("ExecutionStartTime") is None
    assert seen["ExecutionEndTime"] >= seen["ExecutionStartTime"]
    assert seen["Parameters"]["Cluster"] == ["demo"]


@pytest.mark.parametrize(
    "parameters, change, overall, expected, said",
    [
        ({"TaskDefName": ["good:1"], "FunctionName1": ["broken"]}, None, "Failed", {"lambda1": "Failed", "Sleep": "Success", "ecs": "Pending"}, "Runtime.ExitError"),
        ({"TaskDefName": ["good:7"]}, None, "Failed", {"lambda1": "Success", "ecs": "Failed", "Sleep": "Success"}, "when calling the RunTask operation"),
        ({"TaskDefName": ["bad:1"]}, ("timeoutSeconds: 300", "timeoutSeconds: 4"), "TimedOut", {"waitecscontainer1": "TimedOut", "lambda2": "Pending", "Sleep": "Success"}, "the last value was 1"),
        ({"TaskDefName": ["good:1"], "FunctionName2": ["nothing"]}, None, "Failed", {"lambda2": "Failed", "Sleep": "Pending"}, "(ResourceNotFoundException) when calling the Invoke operation"),
    ],
)
def test_the_example_fails(automation, create, parameters, change, overall, expected, said):
    create(EXAMPLE.replace(*change) if change else EXAMPLE)
    seen = run(automation, Parameters={**PARAMETERS, **parameters})
    assert seen["AutomationExecutionStatus"] == overall, seen
    assert {name: statuses(seen)[name] for name in expected} == expected
    assert said in seen["FailureMessage"]
    assert seen["FailureMessage"].startswith("Step fails when it is ")


def test_what_is_not_there(automation, create):
    """Codes as the service and moto have them."""
    assert refused(automation.get_document, Name="Nothing") == "InvalidDocument"
    assert refused(automation.describe_document, Name="Nothing") == "InvalidDocument"
    assert refused(automation.delete_document, Name="Nothing") == "InvalidDocument"
    assert refused(automation.update_document, Name="Nothing", Content="{}") == "InvalidDocument"
    assert refused(automation.start_automation_execution, DocumentName="Nothing") == "AutomationDefinitionNotFoundException"
    nobody = "00000000-0000-4000-8000-000000000000"
    assert refused(automation.get_automation_execution, AutomationExecutionId=nobody) == "AutomationExecutionNotFoundException"
    assert refused(automation.describe_automation_step_executions, AutomationExecutionId=nobody) == "AutomationExecutionNotFoundException"
    assert refused(automation.stop_automation_execution, AutomationExecutionId=nobody) == "AutomationExecutionNotFoundException"
    assert refused(automation.send_automation_signal, AutomationExecutionId=nobody, SignalType="Approve") == "AutomationExecutionNotFoundException"
    create(EXAMPLE)
    assert refused(automation.start_automation_execution, DocumentName="Book", DocumentVersion="9") == "AutomationDefinitionVersionNotFoundException"
    assert refused(automation.start_automation_execution, DocumentName="Book", Parameters={"No": ["x"]}) == "InvalidAutomationExecutionParametersException"
    assert refused(automation.describe_automation_executions, Filters=[{"Key": "TagKey", "Values": ["a"]}]) == "InvalidFilterKey"


def test_documents_are_read_before_they_are_kept(automation, create):
    new = lambda content, name="Book", **more: refused(automation.create_document, Name=name, Content=content, **{"DocumentType": "Automation", "DocumentFormat": "YAML", **more})
    assert new("a: [") == "InvalidDocumentContent"
    assert new(book("- {name: a, action: 'aws:slep', inputs: {}}\n")) == "InvalidDocumentContent"
    assert new(EXAMPLE, DocumentFormat="JSON") == "InvalidDocumentContent"
    assert new(EXAMPLE, name="AWS-Own") == "ValidationException"
    assert new("x" * 70000) == "MaxDocumentSizeExceeded"
    create(EXAMPLE)
    assert new(EXAMPLE) == "DocumentAlreadyExists"
    assert automation.list_documents(Filters=[{"Key": "Owner", "Values": ["Self"]}])["DocumentIdentifiers"][0]["Name"] == "Book"
    assert refused(automation.update_document, Name="Book", Content=EXAMPLE, DocumentVersion="$LATEST", DocumentFormat="YAML") == "DuplicateDocumentContent"
    other = book("- {name: a, action: 'aws:sleep', inputs: {Duration: PT1S}}\n")
    assert refused(automation.update_document, Name="Book", Content=other, DocumentVersion="7", DocumentFormat="YAML") == "InvalidDocumentVersion"
    updated = automation.update_document(Name="Book", Content=other, DocumentVersion="$LATEST", DocumentFormat="YAML")["DocumentDescription"]
    assert (updated["DocumentVersion"], updated["LatestVersion"], updated["DefaultVersion"]) == ("2", "2", "1")
    assert automation.get_document(Name="Book")["Content"] == EXAMPLE
    newest = automation.get_document(Name="Book", DocumentVersion="$LATEST", DocumentFormat="JSON")
    assert json.loads(newest["Content"])["mainSteps"][0]["action"] == "aws:sleep"
    assert automation.describe_document(Name="Book")["Document"]["DocumentVersion"] == "1"
    automation.update_document_default_version(Name="Book", DocumentVersion="2")
    seen = run(automation)
    assert (seen["DocumentVersion"], statuses(seen)) == ("2", {"a": "Success"})
    assert refused(automation.delete_document, Name="Book", DocumentVersion="2") == "InvalidDocumentOperation"
    assert refused(automation.update_document_default_version, Name="Book", DocumentVersion="$LATEST") == "ValidationException"
    automation.delete_document(Name="Book", DocumentVersion="1")
    assert [it["DocumentVersion"] for it in automation.list_document_versions(Name="Book")["DocumentVersions"]] == ["2"]


def test_approvals_and_pauses_wait_for_signals(automation, create):
    ask = "- {name: ask, action: 'aws:approve', inputs: {Approvers: %s, MinRequiredApprovals: %s}}\n- {name: hold, action: 'aws:pause', inputs: {}}\n"
    create(book(ask % ("[sandbox]", 1)))
    start = lambda name="Book": automation.start_automation_execution(DocumentName=name)["AutomationExecutionId"]
    signal = lambda execution, kind: automation.send_automation_signal(AutomationExecutionId=execution, SignalType=kind, Payload={"Comment": ["x"]})
    # Nobody else may approve, and nobody twice.
    create(book(ask % ("[ann, bob]", 1)), "Others")
    create(book(ask % ("[sandbox, ann]", 2)), "Both")
    for name, answers in [("Others", ["InvalidAutomationSignalException"] * 2), ("Both", [None, "InvalidAutomationSignalException"])]:
        execution = start(name)
        until(automation, execution, "Waiting")
        for answer in answers:
            if answer:
                assert refused(signal, execution=execution, kind="Approve") == answer
            else:
                signal(execution, "Approve")
        assert statuses(get(automation, execution)) == {"ask": "Waiting", "hold": "Pending"}
        automation.stop_automation_execution(AutomationExecutionId=execution)
    execution = start()
    until(automation, execution, "Waiting")
    assert refused(automation.send_automation_signal, AutomationExecutionId=execution, SignalType="Resume") == "InvalidAutomationSignalException"
    signal(execution, "Approve")
    deadline = time.monotonic() + LIMIT
    while statuses(seen := get(automation, execution))["hold"] != "Waiting":
        assert time.monotonic() < deadline, seen
        time.sleep(0.05)
    assert seen["CurrentStepName"] == "hold"
    signal(execution, "Resume")
    assert until(automation, execution, "Success")
    assert refused(automation.send_automation_signal, AutomationExecutionId=execution, SignalType="Resume") == "InvalidAutomationSignalException"
    execution = start()
    until(automation, execution, "Waiting")
    signal(execution, "Reject")
    seen = until(automation, execution, "Failed")
    assert "rejected by" in seen["FailureMessage"]


def test_executions_are_stopped(automation, create):
    steps = "- {name: wait, action: 'aws:waitForAwsResourceProperty', onCancel: 'step:clean', inputs: {Service: ecs, Api: ListClusters, PropertySelector: '$.nextToken', DesiredValues: [never]}}\n- {name: clean, action: 'aws:invokeLambdaFunction', inputs: {FunctionName: test}, isEnd: true}\n"
    create(book(steps))
    execution = automation.start_automation_execution(DocumentName="Book")["AutomationExecutionId"]
    until(automation, execution, "InProgress")
    listed = automation.describe_automation_executions(Filters=[{"Key": "ExecutionStatus", "Values": ["InProgress"]}])
    assert [it["AutomationExecutionId"] for it in listed["AutomationExecutionMetadataList"]] == [execution]
    automation.stop_automation_execution(AutomationExecutionId=execution)
    seen = until(automation, execution, "Cancelled")
    assert statuses(seen) == {"wait": "Cancelled", "clean": "Success"}
    assert refused(automation.stop_automation_execution, AutomationExecutionId=execution) == "InvalidAutomationStatusUpdateException"
    # The running step ends first.
    create(book("- {name: a, action: 'aws:sleep', inputs: {Duration: PT2S}}\n- {name: b, action: 'aws:sleep', inputs: {Duration: PT2S}}\n"), "Slow")
    execution = automation.start_automation_execution(DocumentName="Slow")["AutomationExecutionId"]
    automation.stop_automation_execution(AutomationExecutionId=execution, Type="Complete")
    seen = until(automation, execution, "Cancelled")
    assert statuses(seen) == {"a": "Success", "b": "Pending"}
    pages = automation.get_paginator("describe_automation_step_executions").paginate(AutomationExecutionId=execution, PaginationConfig={"PageSize": 1})
    assert [step["StepName"] for page in pages for step in page["StepExecutions"]] == ["a", "b"]


def test_children_and_scripts(automation, create):
    script = "def go(events, context):\\n  import os\\n  print('noise')\\n  return {'twice': events['n'] * 2, 'region': os.environ['AWS_REGION']}\\n"
    head = "parameters: {N: {type: Integer, default: 1}}\n"
    create(book(f"- {{name: s, action: 'aws:executeScript', inputs: {{Runtime: python3.11, Handler: go, Script: \"{script}\", InputPayload: {{n: '{{{{ N }}}}'}}}}, outputs: [{{Name: twice, Selector: $.Payload.twice, Type: Integer}}]}}\noutputs: [s.twice]\n", head), "Child")
    create(book("- {name: c, action: 'aws:executeAutomation', inputs: {DocumentName: Child, RuntimeParameters: {N: 21}}}\noutputs: [c.Output, c.Status]\n"), "Parent")
    seen = run(automation, "Parent")
    assert seen["AutomationExecutionStatus"] == "Success", seen
    assert seen["Outputs"] == {"c.Output": ["42"], "c.Status": ["Success"]}
    child = seen["StepExecutions"][0]["Outputs"]["ExecutionId"][0]
    assert get(automation, child)["ParentAutomationExecutionId"] == seen["AutomationExecutionId"]
    # One that fails, one that is not there, one that starts itself.
    create(book("- {name: f, action: 'aws:invokeLambdaFunction', inputs: {FunctionName: broken}}\n"), "Bad")
    for name, said in [("Bad", "ended as Failed"), ("Missing", "AutomationDefinitionNotFoundException"), ("Again", "starts itself")]:
        content = book(f"- {{name: c, action: 'aws:executeAutomation', inputs: {{DocumentName: {name}}}}}\n")
        automation.create_document(Content=content, Name="Again", DocumentType="Automation", DocumentFormat="YAML")
        seen = run(automation, "Again")
        assert seen["AutomationExecutionStatus"] == "Failed"
        assert said in seen["FailureMessage"], seen["FailureMessage"]
        automation.delete_document(Name="Again")
    # A parent that is stopped takes its child with it.
    create(book("- {name: s, action: 'aws:sleep', inputs: {Duration: P1D}}\n"), "Long")
    create(book("- {name: c, action: 'aws:executeAutomation', inputs: {DocumentName: Long}}\n"), "Above")
    parent = automation.start_automation_execution(DocumentName="Above")["AutomationExecutionId"]
    deadline = time.monotonic() + LIMIT
    filters = [{"Key": "ParentExecutionId", "Values": [parent]}]
    while not (found := automation.describe_automation_executions(Filters=filters)["AutomationExecutionMetadataList"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    automation.stop_automation_execution(AutomationExecutionId=parent)
    until(automation, parent, "Cancelled")
    until(automation, found[0]["AutomationExecutionId"], "Cancelled")


def test_the_newest_version_is_one_that_is_there(automation):
    automation.create_document(Name="Gone", Content=EXAMPLE, DocumentType="Automation", DocumentFormat="YAML")
    for number in ["2", "3"]:
        made = automation.update_document(Name="Gone", Content=EXAMPLE + "# %s\n" % number, DocumentFormat="YAML", DocumentVersion="$LATEST")
        assert made["DocumentDescription"]["DocumentVersion"] == number
    automation.delete_document(Name="Gone", DocumentVersion="3")
    described = automation.describe_document(Name="Gone")["Document"]
    assert (described["LatestVersion"], described["DefaultVersion"]) == ("2", "1")
    # By its ARN too.
    automation.delete_document(Name="arn:aws:ssm:eu-west-1:123456789012:document/Gone")
    assert refused(automation.get_document, Name="Gone") == "InvalidDocument"


def test_a_client_token_starts_one_execution(automation, create):
    create(book("- {name: a, action: 'aws:sleep', inputs: {Duration: PT1S}}\n"))
    create(book("- {name: b, action: 'aws:sleep', inputs: {Duration: PT1S}}\n"), "Other")
    token = "0d5f3c1e-1111-4222-8333-123456789012"
    start = lambda name, token: automation.start_automation_execution(DocumentName=name, ClientToken=token)["AutomationExecutionId"]
    assert start("Book", token) == start("Book", token.upper())
    assert refused(start, name="Other", token=token) == "IdempotentParameterMismatch"


def test_what_a_script_did_is_said(automation, create):
    script = lambda name, body: "- {name: %s, action: 'aws:executeScript', onFailure: Continue, inputs: {Runtime: python3.11, Handler: f, Script: \"%s\"}}\n" % (name, body)
    create(book(script("nan", "def f(e, c):\\n  return {'x': float('nan')}\\n") + script("left", "import sys\\ndef f(e, c):\\n  sys.exit(0)\\n")))
    seen = run(automation)
    said = {it["StepName"]: it["FailureMessage"] for it in seen["StepExecutions"]}
    assert "not JSON compliant" in said["nan"] and "ended itself" in said["left"], said
    assert all(".." not in it for it in said.values()), said
