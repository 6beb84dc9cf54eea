//! What must not be found, and what must not be offered.

use serde_json::{Value, json};

use super::super::State;
use super::super::checks::report;
use super::super::facts::Facts;
use super::{definition, healthy, routes, service};

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

#[test]
fn a_proxy_is_no_problem_if_it_is_empty_or_the_agent_passes_it_by() {
    let check = |environment: &Value| {
        let mut facts = healthy();
        definition(&mut facts)["containerDefinitions"][0]["environment"] = environment.clone();
        let checks = report(&facts).checks;
        let mut checks = checks.into_iter();
        let check = checks.find(|check| check.id == "proxy-in-environment");
        check.unwrap()
    };
    let proxy = json!({ "name": "HTTPS_PROXY", "value": "http://p:3128" });
    let except = |hosts: &str| {
        let exception = json!({ "name": "no_proxy", "value": hosts });
        check(&json!([proxy, exception])).state
    };
    for hosts in [
        "ssmmessages.eu-west-1.amazonaws.com",
        "localhost, SSMMESSAGES.eu-west-1.amazonaws.com:443",
        ".amazonaws.com",
        "*.amazonaws.com",
        "amazonaws.com",
        "*",
    ] {
        assert_eq!(except(hosts), State::Ok, "{hosts}");
    }
    for hosts in [
        "",
        ",",
        "ssm.eu-west-1.amazonaws.com",
        "messages.eu-west-1.amazonaws.com",
        ".ssmmessages.eu-west-1.amazonaws.com",
        "amazonaws.com:80",
    ] {
        assert_eq!(except(hosts), State::Problem, "{hosts}");
    }
    let empty = json!({ "name": "HTTPS_PROXY", "value": "" });
    assert_eq!(check(&json!([empty])).state, State::Ok);

    let mut facts = healthy();
    let app = &mut definition(&mut facts)["containerDefinitions"][0];
    app["environment"] = json!([proxy]);
    app["secrets"] = json!([{ "name": "NO_PROXY", "valueFrom": "arn" }]);
    assert_eq!(report(&facts).problems().count(), 0);
}

/// Behind a transit gateway or a peering there may be an endpoint or a way out.
#[test]
fn where_routes_lead_to_other_networks_nothing_is_known() {
    let state = |route: &Value| {
        let mut facts = healthy();
        let local = json!({ "destinationCidrBlock": "10.0.0.0/16", "gatewayId": "local" });
        facts.network.as_mut().unwrap().table = routes(&json!([local, route]));
        let checks = report(&facts).checks;
        checks
            .iter()
            .find(|check| check.id == "route")
            .unwrap()
            .state
    };
    for target in [
        json!({ "transitGatewayId": "tgw-1" }),
        json!({ "vpcPeeringConnectionId": "pcx-1" }),
        json!({ "gatewayId": "vgw-1" }),
        json!({ "networkInterfaceId": "eni-1", "state": "active" }),
    ] {
        assert_eq!(state(&target), State::Unknown, "{target}");
    }
    for target in [
        json!({ "transitGatewayId": "tgw-1", "state": "blackhole" }),
        json!({ "destinationPrefixListId": "pl-s3", "gatewayId": "vpce-s3" }),
    ] {
        assert_eq!(state(&target), State::Problem, "{target}");
    }
}
