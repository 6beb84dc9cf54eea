use serde_json::Value;

use super::*;

const UPGRADE: Expected<'_> = Expected {
    service: "ssmmessages",
    region: Some("us-east-1"),
    upgrade: true,
};
const REQUEST: Expected<'_> = Expected {
    upgrade: false,
    ..UPGRADE
};

fn recorded_credentials() -> Credentials {
    Credentials {
        access_key_id: "ASIAEXAMPLE".to_owned(),
        secret_access_key: "secret".to_owned(),
        session_token: Some("sessiontoken".to_owned()),
    }
}

/// Requests that a real agent signed, with their bodies.
fn recorded() -> Vec<(Parts, Vec<u8>)> {
    let fixture = include_str!("../../tests/fixtures/agent-signatures.json");
    let fixture: Value = serde_json::from_str(fixture).unwrap();
    let requests = fixture["requests"].as_array().unwrap();
    requests
        .iter()
        .map(|recorded| {
            let text = |name: &str| recorded[name].as_str().unwrap_or_default().to_owned();
            let mut request = http::Request::builder()
                .method(text("method").as_str())
                .uri(format!("{}?{}", text("path"), text("query")));
            for (name, value) in recorded["headers"].as_object().unwrap() {
                request = request.header(name, value.as_str().unwrap());
            }
            (
                request.body(()).unwrap().into_parts().0,
                text("body").into_bytes(),
            )
        })
        .collect()
}

fn expected(head: &Parts) -> Expected<'static> {
    if head.method == http::Method::GET {
        UPGRADE
    } else {
        REQUEST
    }
}

fn time_of(head: &Parts) -> SystemTime {
    parse_time(head.headers["x-amz-date"].to_str().unwrap()).unwrap()
}

fn verify_at(head: &Parts, body: &[u8], now: SystemTime) -> Result<(), AuthError> {
    verify(head, body, &recorded_credentials(), expected(head), now)
}

#[test]
fn what_the_real_agent_signed_is_accepted() {
    let recorded = recorded();
    assert_eq!(recorded.len(), 4);
    for (head, body) in recorded {
        assert_eq!(
            verify_at(&head, &body, time_of(&head)),
            Ok(()),
            "{} {}",
            head.method,
            head.uri
        );
    }
}

#[test]
fn any_change_breaks_the_signature() {
    for (head, body) in recorded() {
        let now = time_of(&head);
        let mut longer = body.clone();
        longer.push(b' ');
        assert_eq!(verify_at(&head, &longer, now), Err(AuthError::Mismatch));

        let mut elsewhere = head.clone();
        elsewhere.uri = format!("{}x", head.uri).parse().unwrap();
        assert_eq!(verify_at(&elsewhere, &body, now), Err(AuthError::Mismatch));

        let mut host = head.clone();
        host.headers.insert("host", "127.0.0.1:1".parse().unwrap());
        assert_eq!(verify_at(&host, &body, now), Err(AuthError::Mismatch));

        let mut method = head.clone();
        method.method = http::Method::PUT;
        let result = verify(
            &method,
            &body,
            &recorded_credentials(),
            expected(&head),
            now,
        );
        assert_eq!(result, Err(AuthError::Mismatch));

        let other = Credentials {
            secret_access_key: "other".to_owned(),
            ..recorded_credentials()
        };
        assert_eq!(
            verify(&head, &body, &other, expected(&head), now),
            Err(AuthError::Mismatch)
        );
    }
}

#[test]
fn clocks_may_differ_by_fifteen_minutes() {
    let (head, body) = recorded().remove(0);
    let (time, minute) = (time_of(&head), Duration::from_secs(60));
    for near in [time + 15 * minute, time - 15 * minute] {
        assert_eq!(verify_at(&head, &body, near), Ok(()));
    }
    let late = verify_at(&head, &body, time + 15 * minute + Duration::from_secs(1)).unwrap_err();
    assert_eq!(late.json_code(), "InvalidSignatureException");
    assert_eq!(
        late.to_string(),
        "Signature expired: 20261121T030837Z is now earlier than 20261121T030838Z (20261121T032338Z - 15 min.)"
    );
    let early = verify_at(&head, &body, time - 16 * minute).unwrap_err();
    assert!(
        early.to_string().starts_with("Signature not yet current: "),
        "{early}"
    );
}

#[test]
fn keys_and_tokens_must_be_ours() {
    let (head, body) = recorded().remove(0);
    let now = time_of(&head);
    let key = Credentials {
        access_key_id: "ASIAOTHER".to_owned(),
        ..recorded_credentials()
    };
    let token = Credentials {
        session_token: None,
        ..recorded_credentials()
    };
    for credentials in [key, token] {
        assert_eq!(
            verify(&head, &body, &credentials, REQUEST, now),
            Err(AuthError::UnknownKey)
        );
    }
    assert_eq!(
        AuthError::UnknownKey.json_code(),
        "UnrecognizedClientException"
    );
    assert_eq!(AuthError::UnknownKey.query_code(), "InvalidClientTokenId");
}

#[test]
fn the_scope_must_fit() {
    let (head, body) = recorded().remove(0);
    for expected in [
        Expected {
            service: "ecs",
            ..REQUEST
        },
        Expected {
            region: Some("eu-west-1"),
            ..REQUEST
        },
    ] {
        let result = verify(
            &head,
            &body,
            &recorded_credentials(),
            expected,
            time_of(&head),
        );
        assert!(matches!(result, Err(AuthError::Scope(_))), "{result:?}");
    }
}

#[test]
fn an_upgrade_signs_what_the_reference_client_signs_and_no_more() {
    let (head, body) = recorded().remove(0);
    // This one is no upgrade: its content type is signed as well.
    let result = verify(
        &head,
        &body,
        &recorded_credentials(),
        UPGRADE,
        time_of(&head),
    );
    assert!(
        matches!(result, Err(AuthError::SignedHeaders(_))),
        "{result:?}"
    );
}

#[test]
fn headers_that_matter_must_be_signed() {
    let (mut head, body) = recorded().remove(0);
    head.headers
        .insert("x-amz-target", "AmazonSSM.StartSession".parse().unwrap());
    let result = verify_at(&head, &body, time_of(&head));
    assert!(
        matches!(result, Err(AuthError::SignedHeaders(_))),
        "{result:?}"
    );
}

#[test]
fn malformed_headers_are_named_as_such() {
    let (head, body) = recorded().remove(0);
    let now = time_of(&head);
    for value in [
        "",
        "Basic eDp5",
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 Credential=a/b/c, SignedHeaders=host, Signature=0",
        "AWS4-HMAC-SHA256 Credential=a/20261121/us-east-1/ssmmessages/aws4_request, Signature=0",
        "AWS4-HMAC-SHA256 Credential=a/20261121/us-east-1/ssmmessages/aws4_request, SignedHeaders=host",
    ] {
        let mut changed = head.clone();
        changed
            .headers
            .insert("authorization", value.parse().unwrap());
        let result = verify_at(&changed, &body, now);
        assert!(
            matches!(result, Err(AuthError::Incomplete(_))),
            "{value}: {result:?}"
        );
    }
    let mut none = head.clone();
    none.headers.remove("authorization");
    assert_eq!(verify_at(&none, &body, now), Err(AuthError::Missing));
    let mut twice = head;
    twice
        .headers
        .append("authorization", "AWS4-HMAC-SHA256 x".parse().unwrap());
    assert!(matches!(
        verify_at(&twice, &body, now),
        Err(AuthError::Incomplete(_))
    ));
}

#[test]
fn a_raw_plus_of_a_query_counts_as_a_space() {
    let query = "role=publish_subscribe&cell-number=+/v7//a=";
    assert_eq!(
        canonical_query(query),
        "cell-number=%20%2Fv7%2F%2Fa%3D&role=publish_subscribe"
    );
    assert_eq!(canonical_query("b&a=2&a=1&c=%2f~"), "a=1&a=2&b=&c=%2F~");
    assert_eq!(canonical_query(""), "");
}

#[test]
fn a_path_is_escaped_once_more() {
    assert_eq!(
        escape(b"/v1/data-channel/user@host-%40", b"/"),
        "/v1/data-channel/user%40host-%2540"
    );
}

/// The PUT of S3's documentation ("Authenticating Requests: Using the Authorization Header").
fn documented_put() -> (Parts, Credentials) {
    let digest = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
    let authorization = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
        SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class,\
        Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd";
    let request = http::Request::put("/test%24file.text")
        .header("date", "Fri, 24 May 2013 00:00:00 GMT")
        .header("host", "examplebucket.s3.amazonaws.com")
        .header("x-amz-content-sha256", digest)
        .header("x-amz-date", "20130524T000000Z")
        .header("x-amz-storage-class", "REDUCED_REDUNDANCY")
        .header("authorization", authorization);
    let credentials = Credentials {
        access_key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
        secret_access_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
        session_token: None,
    };
    (request.body(()).unwrap().into_parts().0, credentials)
}

#[test]
fn s3_signs_the_path_as_it_is_sent_and_what_is_said_of_the_body() {
    const S3: Expected<'_> = Expected {
        service: "s3",
        ..REQUEST
    };
    let (head, credentials) = documented_put();
    let verified = |head: &Parts| verify(head, b"", &credentials, S3, time_of(head));
    assert_eq!(verified(&head), Ok(()));

    // Another client may leave the `$` as it is.
    let mut plain = head.clone();
    plain.uri = "/test$file.text".parse().unwrap();
    assert_eq!(verified(&plain), Ok(()));

    let mut unsigned = head;
    let word = "UNSIGNED-PAYLOAD".parse().unwrap();
    unsigned.headers.insert(CONTENT_SHA256, word);
    assert_eq!(verified(&unsigned), Err(AuthError::Mismatch));
}

/// The key derivation example of AWS's documentation (service iam, 30 August 2015).
#[test]
fn the_documented_signing_key_comes_out() {
    let key = mac(b"AWS4wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20150830");
    let key = mac(&mac(&mac(&key, "us-east-1"), "iam"), "aws4_request");
    assert_eq!(
        hex::encode(key),
        "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"
    );
}

#[test]
fn secrets_are_not_printed() {
    let credentials = Credentials::random();
    assert!(!format!("{credentials:?}").contains(&credentials.secret_access_key));
}
