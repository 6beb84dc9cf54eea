//! What must not be found, and what must not be offered.

use serde_json::json;

use super::super::checks::report;
use super::super::facts::Facts;
use super::{definition, healthy, service};

/// Other controllers than ECS refuse the update, and without a service nobody would use a new revision.
#[test]
fn nothing_is_offered_that_would_not_serve() {
    let service =
        json!({ "serviceName": "web", "deploymentController": { "type": "CODE_DEPLOY" } });
    for service in [None, Some(service)] {
        let mut facts = healthy();
        facts.service = Ok(service);
        definition(&mut facts)["containerDefinitions"][0]["readonlyRootFilesystem"] = json!(true);
        let report = report(&facts);
        assert!(report.problems().all(|check| check.requests.is_empty()));
    }
}

/// What a fix makes of the task's definition would take back what the service has been given since; and the tasks are
/// being replaced already.
#[test]
fn a_roll_out_is_left_alone() {
    let mut facts = healthy();
    definition(&mut facts)["containerDefinitions"][0]["readonlyRootFilesystem"] = json!(true);
    facts.task["containers"][0]["managedAgents"][0]["lastStatus"] = json!("STOPPED");
    let offered = |facts: &Facts| {
        let report = report(facts);
        let mut found = report.problems();
        assert!(found.any(|check| check.id == "read-only-root"));
        assert!(found.any(|check| check.id == "agent"));
        report.problems().any(|check| !check.requests.is_empty())
    };
    assert!(offered(&facts));
    service(&mut facts)["taskDefinition"] =
        json!("arn:aws:ecs:eu-west-1:123456789012:task-definition/web:8");
    assert!(!offered(&facts));
}
