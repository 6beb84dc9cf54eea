//! From calls to a policy document.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Explanation, When, Who};

impl Explanation {
    /// The least policy that allows what somebody needs: a document for `aws iam create-policy`. Calls whose refusal
    /// costs nothing are left out.
    #[must_use]
    pub fn policy(&self, who: Who) -> Value {
        // By resources and condition, in an order that stays the same.
        let mut statements: BTreeMap<_, Vec<&str>> = BTreeMap::new();
        let needed = |when| matches!(when, When::Always | When::If);
        let calls = self.calls.iter();
        for call in calls.filter(|call| call.who == who && needed(call.when)) {
            let key = (&call.resources, call.condition.to_string());
            statements.entry(key).or_default().push(&call.action);
        }
        let statements = statements
            .into_iter()
            .map(|((resources, condition), mut actions)| {
                actions.sort_unstable();
                actions.dedup();
                let mut statement =
                    json!({ "Effect": "Allow", "Action": actions, "Resource": resources });
                match serde_json::from_str(&condition) {
                    Ok(Value::Null) | Err(_) => {}
                    Ok(condition) => statement["Condition"] = condition,
                }
                statement
            });
        json!({ "Version": "2012-10-17", "Statement": statements.collect::<Vec<_>>() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Deed, Place, explain};
    use super::*;

    fn place() -> Place {
        let mut place = Place::new();
        place.region = Some("eu-west-1".to_owned());
        place.account = Some("123456789012".to_owned());
        place.cluster = Some("prod".to_owned());
        place.container = Some("app".to_owned());
        place
    }

    #[test]
    fn an_exec_needs_this_and_no_more() {
        let explained = explain(&[Deed::Resolve, Deed::Exec], &place());
        let policy = serde_json::to_string_pretty(&explained.policy(Who::Caller)).unwrap();
        insta::assert_snapshot!(policy);
        let role = explained.policy(Who::TaskRole);
        let first = role["Statement"][0]["Action"].to_string();
        assert!(
            role.to_string().contains("ssmmessages:OpenControlChannel"),
            "{first}"
        );
    }

    #[test]
    fn what_is_not_known_is_a_star() {
        let explained = explain(&[Deed::Resolve, Deed::Exec], &Place::new());
        let text = explained.policy(Who::Caller).to_string();
        assert!(text.contains("arn:aws:ecs:*:*:task/*/*"), "{text}");
        assert!(!text.contains("ecs:cluster\""), "{text}");
    }
}
